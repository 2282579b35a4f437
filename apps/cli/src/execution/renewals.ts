/**
 * Renews the leases of a running command when a third of their time is left, where the secret that the command has goes on
 * working. What cannot be renewed any more is said once, with when it ends.
 */
import { http, type Renewal } from '@mayfly/contracts';
import { hasEnded, type Session } from '../api/session.ts';
import { asFailure, mayPass } from '../failure.ts';
import type { Printer } from '../output/printer.ts';
import { clockTime } from '../output/times.ts';

/** What of a lease counts here. */
export interface KeptLease {
  readonly lease_id: string;
  readonly credential: string;
  readonly expires_at: string;
  readonly ttl_seconds: number;
  readonly renewal?: Renewal | undefined;
}

/** Between two attempts, while Mayfly or the upstream is away. Milliseconds. */
const shortestPauseMs = 1_000;

export class Renewals {
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #stopping = new AbortController();
  /** By lease, of those that were renewed. */
  readonly #latestEnds = new Map<string, string>();

  constructor(
    private readonly session: Session,
    private readonly printer: Printer,
  ) {}

  /** From now on, for those that are renewable in place. */
  keep(leases: readonly KeptLease[]): void {
    for (const lease of leases) {
      if (lease.renewal?.kind === 'in_place') this.#plan(lease, (lease.ttl_seconds * 2_000) / 3);
    }
  }

  /** The lease with its end as of its last renewal. */
  latest<L extends KeptLease>(lease: L): L {
    return { ...lease, expires_at: this.#latestEnds.get(lease.lease_id) ?? lease.expires_at };
  }

  /** An attempt under way is given up: the leases are about to be given back. */
  stop(): void {
    this.#stopping.abort();
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  /** By this machine's timers alone: its clock may be off. */
  #plan(lease: KeptLease, milliseconds: number): void {
    if (this.#stopping.signal.aborted) return;
    const timer = setTimeout(
      () => void this.#renew(lease, lease.ttl_seconds * 1_000 - milliseconds),
      milliseconds,
    );
    timer.unref();
    this.#timers.set(lease.lease_id, timer);
  }

  /** @param leftMs What is left of the lease. */
  async #renew(lease: KeptLease, leftMs: number): Promise<void> {
    const started = performance.now();
    try {
      const { expires_at, ttl_seconds } = await this.session.call(
        http.leases.renewLease,
        { lease_id: lease.lease_id },
        { signal: this.#stopping.signal },
      );
      this.#latestEnds.set(lease.lease_id, expires_at);
      const renewed = { ...lease, expires_at, ttl_seconds };
      this.#plan(renewed, (ttl_seconds * 2_000) / 3);
    } catch (error) {
      // With its session it ends at once, which is told for all leases.
      if (this.#stopping.signal.aborted || hasEnded(error)) return;
      const failure = asFailure(error);
      const pauseMs = Math.max(shortestPauseMs, leftMs / 5);
      const stillLeftMs = leftMs - (performance.now() - started) - pauseMs;
      if (mayPass(failure) && stillLeftMs > 0) {
        this.#timers.set(
          lease.lease_id,
          setTimeout(() => void this.#renew(lease, stillLeftMs), pauseMs).unref(),
        );
        return;
      }
      this.printer.note(
        `${lease.credential} can't be renewed any more and ends at ${clockTime(lease.expires_at)}: ${failure.sentence}`,
      );
    }
  }
}
