/** Looks at the upstream all the time: which roles and sessions are there that no live lease owns, and for how long. */
import { setTimeout as sleep } from 'node:timers/promises';
import { graceMs, type FaultLog } from './fault-log.ts';
import { OverstayedSessions } from './overstayed-sessions.ts';
import type { Register, UpstreamRole } from './register.ts';

/** Milliseconds. */
const lookEveryMs = 500;
/** A mint under way is no orphan yet. */
const underWayMs = 1_000;

export class UpstreamWatch {
  /** Roles without a live lease, with when they were first seen so. */
  readonly #strange = new Map<string, number>();
  readonly #orphans = new Map<string, number>();
  readonly #violations = new Map<string, string>();
  readonly sessions: OverstayedSessions;
  /** Roles of ended leases whose clean-up is pending, as last seen, and the most at once. */
  readonly cleanUps = { honest: { now: 0, most: 0 }, hostile: { now: 0, most: 0 } };
  #worstAgeMs = 0;
  #stopping = false;
  #running: Promise<void> = Promise.resolve();

  constructor(
    private readonly register: Register,
    private readonly faults: FaultLog,
    private readonly orphanBoundMs: number,
  ) {
    this.sessions = new OverstayedSessions(faults);
  }

  start(): void {
    this.#running = this.#watch();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  /** When orphans were first seen. */
  get orphansSeenAt(): number[] {
    return [...this.#orphans.values()];
  }

  /** How long the longest-lived orphan was there, in milliseconds. */
  get worstAgeMs(): number {
    return this.#worstAgeMs;
  }

  get violations(): string[] {
    return [...this.#violations.values()];
  }

  async #watch(): Promise<void> {
    while (!this.#stopping) {
      try {
        this.#look(await this.register.roles(), Date.now());
        const now = Date.now();
        this.sessions.look(await this.register.sessions(), now);
      } catch {
        // Postgres is down: there is nothing to see.
      }
      await sleep(lookEveryMs);
    }
  }

  #look(roles: readonly UpstreamRole[], now: number): void {
    for (const { role, outlivesRegister, cleanUp } of roles) {
      if (outlivesRegister) this.#violations.set(role, `${role} works for longer than the register knows`);
      if (cleanUp?.mayLogIn === true)
        this.#violations.set(role, `${role} may log in although its lease has ended`);
    }
    this.#countCleanUps(roles);
    const strange = roles.filter((role) => !isLive(role, now) && role.cleanUp === undefined);
    const names = new Set(strange.map(({ role }) => role));
    for (const name of this.#strange.keys()) if (!names.has(name)) this.#strange.delete(name);
    for (const { role, state, expiresAt } of strange) {
      const since = this.#strange.get(role) ?? now;
      this.#strange.set(role, since);
      // What is being ended is not an orphan, and has the shorter time.
      const ending = state === 'revoking' || state === 'revocation_failed' || state === 'active';
      if (!ending && now - since > underWayMs) {
        this.#orphans.set(role, since);
        this.#worstAgeMs = Math.max(this.#worstAgeMs, now - since);
      }
      // The next fault may stand in the way too: only the time between faults counts.
      const tooLong = ending
        ? this.faults.healthyBetween(Math.max(since, expiresAt ?? 0), now) > graceMs + lookEveryMs
        : this.faults.healthyBetween(since, now) > this.orphanBoundMs;
      if (tooLong) {
        const told = state ?? 'no lease';
        this.#violations.set(role, `${role} (${told}) is still there after ${seconds(now - since)}`);
      }
    }
  }

  #countCleanUps(roles: readonly UpstreamRole[]): void {
    for (const party of ['honest', 'hostile'] as const) {
      const pending = this.cleanUps[party];
      pending.now = roles.filter(({ cleanUp }) => cleanUp?.party === party).length;
      pending.most = Math.max(pending.most, pending.now);
    }
  }
}

function isLive({ state, expiresAt }: UpstreamRole, now: number): boolean {
  return state === 'active' && expiresAt !== undefined && expiresAt > now;
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}
