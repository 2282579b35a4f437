/**
 * Somebody who has a lease and means harm: practises one habit, keeps the sessions open past the end of the lease, and tries
 * again and again to work with the secret.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { HeldCredential } from '../ledger.ts';
import type { Random } from '../random.ts';
import type { Habit, HostileLease } from './habits.ts';
import { HostileSession } from './hostile-session.ts';

/** Milliseconds. */
const tryEveryMs = 1_000;
/** Logins are tried for so long after the end; sessions that are open then are kept, for as long as the server keeps them. */
const tryLoginForMs = 10_000;

export class HostileLessee implements HostileLease {
  /** When a login or a session was last seen to work, in milliseconds since the epoch; undefined when none ever was. */
  lastWorkedAt: number | undefined;
  /** Whether the habit had its effect: since errors are ignored, nobody would notice a habit that has none. */
  hasTakenHold = false;
  #sessions: HostileSession[] = [];
  #isPractising = false;
  readonly #stopped = new AbortController();

  constructor(
    private readonly credential: HeldCredential,
    readonly habit: Habit,
    readonly random: Random,
  ) {}

  get leaseId(): string {
    return this.credential.leaseId;
  }

  /** Returns when nothing is left to be tried, or after `stop`. */
  async misbehave(): Promise<void> {
    void this.#practise();
    while (!this.#stopped.signal.aborted && (this.#isWorthTrying() || this.#sessions.length > 0)) {
      await this.#sleep(tryEveryMs);
      await this.#work();
    }
  }

  stop(): void {
    this.#stopped.abort();
    for (const session of this.#sessions) session.close();
    this.#sessions = [];
  }

  async open(settings?: string): Promise<HostileSession | undefined> {
    const { signal } = this.#stopped;
    if (signal.aborted) return undefined;
    try {
      const session = await HostileSession.open(this.credential.secret, this.leaseId, settings);
      if (signal.aborted) {
        session.close();
        return undefined;
      }
      this.#sessions.push(session);
      await this.#tryToWorkIn(session);
      return session;
    } catch {
      return undefined;
    }
  }

  async untilBeforeItsEnd(milliseconds: number): Promise<void> {
    await this.#sleep(this.credential.expiresAt - milliseconds - Date.now());
  }

  /** Tries the sessions that are open, and another login. Where all were cut and a login works, the habit is taken up again. */
  async #work(): Promise<void> {
    await Promise.all(this.#sessions.map((session) => this.#tryToWorkIn(session)));
    this.#sessions = this.#sessions.filter(({ isOpen }) => isOpen);
    if (!this.#isWorthTrying()) return;
    const isIdle = this.#sessions.length === 0 && !this.#isPractising;
    const session = await this.open();
    session?.close();
    if (isIdle && session !== undefined) void this.#practise();
  }

  async #practise(): Promise<void> {
    this.#isPractising = true;
    if (await this.habit.practise(this)) this.hasTakenHold = true;
    this.#isPractising = false;
  }

  async #tryToWorkIn(session: HostileSession): Promise<void> {
    if (await session.answers()) this.lastWorkedAt = Date.now();
  }

  #isWorthTrying(): boolean {
    return Date.now() < this.credential.expiresAt + tryLoginForMs;
  }

  async #sleep(milliseconds: number): Promise<void> {
    const { signal } = this.#stopped;
    await sleep(Math.max(0, milliseconds), undefined, { signal }).catch(() => undefined);
  }
}
