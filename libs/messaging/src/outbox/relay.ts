/** Publishes what lies in the outbox, and removes it once the stream has acknowledged it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { MayflyError } from '@mayfly/contracts';
import type { MayflyEvent } from '@mayfly/contracts';
import type { Pool, PoolClient } from 'pg';
import type { BusLogger } from '../connection.ts';
import { withoutDeadline } from '../deadline.ts';
import { PoisonMessage } from '../events/delivery.ts';
import type { EventPublisher } from '../events/publisher.ts';
import { outboxTable } from './table.ts';

export interface OutboxRelayOptions {
  /** One connection of it is in use while a batch is published. */
  pool: Pick<Pool, 'connect'>;
  schema: string;
  publisher: EventPublisher;
  logger: BusLogger;
  /** Most events published at once. Default 500. */
  batchSize?: number;
  /** How often to look without a nudge, in milliseconds: finds what a killed process has left. Default 500. */
  pollMs?: number;
  /** How many events wait, counted up to 10,001, at most once a second; for metrics. */
  onPending?: (count: number) => void;
  /** Told when a batch has been claimed, and when its events are stored but not yet removed; not for batches without events. */
  onStep?: (step: 'claimed' | 'published') => void;
}

/** What follows a batch that was not full is gathered for so long: a batch costs as much as a single event. */
const gatherMs = 40;
const firstBackoffMs = 100;
const longestBackoffMs = 5_000;
const countUpTo = 10_001;

interface Row {
  sequence: string;
  message_id: string;
  event: string;
}

/**
 * Loses nothing: a row goes only after its acknowledgement, and a second publication of it is dropped as a duplicate. Its locks
 * are on rows that no one else touches, so the service's own transactions never wait for it, whatever NATS does. Several
 * replicas may run one each; each publishes in order what it has claimed.
 */
export class OutboxRelay {
  private readonly table: string;
  private readonly batchSize: number;
  private readonly pollMs: number;
  private running: Promise<void> | undefined;
  private stopped = false;
  private nudged = false;
  private wake: (() => void) | undefined;
  private countedAt = -Infinity;

  constructor(private readonly options: OutboxRelayOptions) {
    this.table = outboxTable(options.schema);
    this.batchSize = options.batchSize ?? 500;
    this.pollMs = options.pollMs ?? 500;
  }

  start(): void {
    this.running ??= withoutDeadline(() => this.loop());
  }

  /** Looks at once: call it after a commit that has added events. */
  nudge(): void {
    this.nudged = true;
    this.wake?.();
  }

  /** Resolves when the batch in hand, if any, is finished. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.wake?.();
    await this.running;
  }

  private async loop(): Promise<void> {
    let failures = 0;
    while (!this.stopped) {
      this.nudged = false;
      let waitMs = this.pollMs;
      try {
        const { claimed, refused } = await this.relayBatch();
        failures = refused === undefined ? 0 : failures + 1;
        if (refused !== undefined) this.tellFailure(refused, failures);
        else if (claimed === this.batchSize) continue;
      } catch (error) {
        failures++;
        this.tellFailure(error, failures);
      }
      if (failures > 0) {
        const full = Math.min(longestBackoffMs, firstBackoffMs * 2 ** Math.min(failures, 10));
        waitMs = full * (0.5 + Math.random() / 2);
        // A nudge says that there is more, not that NATS is back.
        this.nudged = false;
      }
      if (failures === 0 && !this.stopped) await sleep(gatherMs);
      await this.wait(waitMs, failures === 0);
    }
  }

  private async relayBatch(): Promise<{ claimed: number; refused: unknown }> {
    const client = await this.options.pool.connect();
    // A client in use reports a lost connection as an event too, which would end the process. The next statement rejects.
    const ignore = () => undefined;
    client.on('error', ignore);
    let broken = false;
    try {
      // A delete that a crash undoes only has its event published again, which the stream drops as a duplicate.
      await client.query('begin; set local synchronous_commit = off');
      const { rows } = await client.query<Row>(
        `select sequence, message_id, event from ${this.table}
         order by sequence limit $1 for update skip locked`,
        [this.batchSize],
      );
      if (rows.length > 0) this.options.onStep?.('claimed');
      const outcomes = await Promise.allSettled(rows.map((row) => this.publish(row)));
      const done = rows.filter((_, index) => outcomes[index]?.status === 'fulfilled');
      if (done.length > 0) {
        this.options.onStep?.('published');
        await client.query(`delete from ${this.table} where sequence = any($1::bigint[])`, [
          done.map((row) => row.sequence),
        ]);
      }
      await client.query('commit');
      await this.count(client, rows.length - done.length);
      const failed = outcomes.find((outcome) => outcome.status === 'rejected');
      return { claimed: rows.length, refused: failed?.reason };
    } catch (error) {
      broken = true;
      throw error;
    } finally {
      client.off('error', ignore);
      // A client in an unknown state goes; its transaction ends with it.
      client.release(broken);
    }
  }

  private async publish(row: Row): Promise<void> {
    const { publisher, logger } = this.options;
    try {
      await publisher.publish(JSON.parse(row.event) as MayflyEvent, { messageId: row.message_id });
    } catch (error) {
      // Written by another version, most likely. It must not hold up the others, nor be lost.
      if (!(error instanceof MayflyError && error.cause instanceof PoisonMessage)) throw error;
      await publisher.bury(row.event, row.message_id, error.cause.reason);
      logger.error({ err: error, messageId: row.message_id }, 'outbox event put into MAYFLY_DEAD');
    }
  }

  private async count(client: PoolClient, atLeast: number): Promise<void> {
    if (!this.options.onPending || performance.now() - this.countedAt < 1_000) return;
    this.countedAt = performance.now();
    const { rows } = await client.query<{ count: number }>(
      `select count(*)::int as count from (select from ${this.table} limit ${countUpTo}) as waiting`,
    );
    this.options.onPending(rows[0]?.count ?? atLeast);
  }

  private tellFailure(error: unknown, failures: number): void {
    const level = failures === 1 || failures % 20 === 0 ? 'error' : 'warn';
    const reason = error instanceof MayflyError ? error.reason : 'the outbox cannot be read';
    this.options.logger[level](
      { err: error, schema: this.options.schema, failures },
      `outbox waits: ${reason}`,
    );
  }

  private wait(ms: number, nudgeable: boolean): Promise<void> {
    if (this.stopped || (nudgeable && this.nudged)) return Promise.resolve();
    return new Promise((resolve) => {
      const finish = () => {
        clearTimeout(timer);
        this.wake = undefined;
        resolve();
      };
      const timer = setTimeout(finish, ms);
      timer.unref();
      this.wake = () => {
        if (nudgeable || this.stopped) finish();
      };
    });
  }
}
