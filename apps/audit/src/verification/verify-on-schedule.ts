/**
 * The service verifies its own log: what is new every few minutes, and everything now and then. One replica does it; the others wait
 * for its connection to end. It takes a quarter of one core at most and one connection, however long the log is.
 *
 * An attacker who rules this service can silence it. It is there against whoever rules Postgres; `mayfly audit verify`, run elsewhere,
 * trusts no service.
 */
import { LogSession, verifyLog, type CheckpointVerifier, type Report } from '@mayfly/audit-log';
import { problems } from '@mayfly/domain';
import { auditFindings, auditVerifications, auditVerifiedAt, type Logger } from '@mayfly/telemetry';
import type { Registry } from 'prom-client';
import type { VerificationRecord, VerificationState } from './verification-record.ts';

/**
 * The turn is an advisory lock, because it is held for as long as the connection lives. Any role in the database can take an advisory
 * lock, so it counts only while a session of this very role holds it: whoever else does keeps nobody from verifying.
 */
const verificationLock = 7_340_034;
const takeTurn = `
  SELECT pg_try_advisory_lock(${verificationLock}) OR NOT EXISTS (
    SELECT FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 0 AND l.objid = ${verificationLock} AND l.objsubid = 1
      AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
      AND a.usename = current_user) AS locked`;

/** Reading a very long log through one index is one statement. */
const statementTimeoutMs = 3_600_000;

/** For each millisecond of work so many of rest. */
const restPerWork = 3;
const longestRestMs = 1_000;

/** A service that has just started has other things to do. */
const firstAfterMs = 30_000;

/** In one line of the log; `mayfly audit verify` tells all. */
const mostLogged = 10;

export interface ScheduleSettings {
  readonly connectionString: string;
  readonly checkpointFile: string;
  readonly verifier: CheckpointVerifier;
  readonly record: VerificationRecord;
  readonly logger: Logger;
  readonly metrics: Registry;
  readonly intervalMs: number;
  /** 0 for never. */
  readonly fullIntervalMs: number;
}

class Stopped extends Error {}

export class VerifyOnSchedule {
  readonly #settings: ScheduleSettings;
  readonly #verifiedAt;
  readonly #findings;
  readonly #outcomes;
  #session: LogSession | undefined;
  #state: VerificationState | undefined;
  #started = false;
  #stopping = false;
  #wake: (() => void) | undefined;

  constructor(settings: ScheduleSettings) {
    this.#settings = settings;
    this.#verifiedAt = auditVerifiedAt(settings.metrics);
    this.#findings = auditFindings(settings.metrics);
    this.#outcomes = auditVerifications(settings.metrics);
  }

  /** One pass of the loop: answers with how long to wait for the next, in milliseconds. */
  async pass(): Promise<number> {
    if (!this.#started) {
      this.#started = true;
      await this.#recall();
      return Math.min(firstAfterMs, this.#settings.intervalMs);
    }
    const began = performance.now();
    try {
      await this.verify(new Date());
    } catch (error) {
      // Another connection the next time, of this replica or another.
      await this.#leave();
      if (!this.#stopping) {
        this.#outcomes.inc({ outcome: 'failed' });
        this.#settings.logger.error(
          { err: error },
          'the audit log could not be verified, which will be tried again',
        );
      }
    }
    // What takes longer than the interval rests for as long.
    return Math.max(this.#settings.intervalMs, performance.now() - began);
  }

  /** Verifies once, unless another replica does. Answers with what was found; undefined when it is another's turn. */
  async verify(now: Date): Promise<Report | undefined> {
    const session = await this.#turn();
    if (session === undefined) {
      // Whoever verifies now tells what is found: what this replica found before would be told for ever.
      for (const problem of problems) this.#findings.set({ problem }, 0);
      return undefined;
    }
    const { verifier, checkpointFile, record } = this.#settings;
    this.#state = await record.read();
    const whole = this.#wholeIsDue(now);
    const [who] = await session.rows<'name'>('SELECT current_user AS name');
    const report = await verifyLog({
      session,
      verifier,
      checkpointFile,
      ownerRole: who?.name ?? '',
      whole,
      seen: this.#state?.through,
      pace: this.#pacer(),
    });
    await this.#conclude(report, whole, now);
    return report;
  }

  /** Gives up what is under way. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#wake?.();
    await this.#leave();
  }

  #wholeIsDue(now: Date): boolean {
    const { fullIntervalMs } = this.#settings;
    const fullAt = this.#state?.fullAt;
    if (fullAt === undefined) return true;
    return fullIntervalMs > 0 && now.getTime() - fullAt.getTime() >= fullIntervalMs;
  }

  async #conclude(report: Report, isFull: boolean, now: Date): Promise<void> {
    const { logger, record } = this.#settings;
    const { findings, rows, end, through } = report;
    for (const problem of problems) this.#findings.set({ problem }, findings.byProblem.get(problem) ?? 0);
    if (through === undefined) {
      this.#outcomes.inc({ outcome: 'broken' });
      logger.error(
        { findings: findings.all.slice(0, mostLogged), total: findings.total, rows },
        'the audit log does not verify: docs/operations.md, "The audit log does not verify"',
      );
      // Nothing is recorded: what was due is still due, so a whole pass that has found something is followed by a whole one.
      return;
    }
    this.#outcomes.inc({ outcome: 'intact' });
    const fullAt = isFull ? now : this.#state?.fullAt;
    await record.write({ through, at: now, fullAt });
    this.#verifiedAt.set({ scope: 'recent' }, now.getTime() / 1000);
    // Without a whole one that is due there is no age to be alarmed by.
    if (isFull && this.#settings.fullIntervalMs > 0) {
      this.#verifiedAt.set({ scope: 'full' }, now.getTime() / 1000);
    }
    logger.debug({ rows, end: end.seq, full: isFull }, 'the audit log is intact');
  }

  /** When it was last intact is known across restarts. */
  async #recall(): Promise<void> {
    const state = await this.#settings.record.read();
    const started = Date.now() / 1000;
    this.#verifiedAt.set({ scope: 'recent' }, state === undefined ? started : state.at.getTime() / 1000);
    if (this.#settings.fullIntervalMs > 0) {
      const fullAt = state?.fullAt;
      this.#verifiedAt.set({ scope: 'full' }, fullAt === undefined ? started : fullAt.getTime() / 1000);
    }
    for (const problem of problems) this.#findings.set({ problem }, 0);
  }

  /** The connection, while this replica is the one that verifies: the lock is the connection's and goes with it. */
  async #turn(): Promise<LogSession | undefined> {
    if (this.#session !== undefined) return this.#session;
    const session = await LogSession.open({
      connectionString: this.#settings.connectionString,
      applicationName: 'mayfly-audit-verification',
      statementTimeoutMs,
    });
    try {
      const [lock] = await session.rows<'locked'>(takeTurn);
      if (lock?.locked === 't') {
        this.#session = session;
        return session;
      }
    } catch (error) {
      await session.close();
      throw error;
    }
    await session.close();
    return undefined;
  }

  async #leave(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    await session?.close();
  }

  #pacer(): () => Promise<void> {
    let since = performance.now();
    return async () => {
      if (this.#stopping) throw new Stopped();
      const rest = Math.min(longestRestMs, restPerWork * (performance.now() - since));
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, rest);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = undefined;
      if (this.#stopping) throw new Stopped();
      since = performance.now();
    };
  }
}
