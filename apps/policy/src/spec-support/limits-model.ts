/**
 * What limits mean, without a database: the leases of a few sessions, what is true of each in the register, and what policy has
 * heard of it. Tests compare the SQL with it, step by step. For specs only.
 */
import type { MayflyEvent } from '@mayfly/contracts';
import { newEvent } from '@mayfly/messaging';

export interface ModelLease {
  readonly id: string;
  readonly session: string;
  readonly predecessor: ModelLease | undefined;
  readonly key: string | undefined;
  /** The lease that a repeat of its Idempotency-Key was granted in place of. */
  readonly supersedes: ModelLease | undefined;
  /** As the register has it; `granted` before it is activated. */
  truth: 'granted' | 'active' | 'ended';
  /** Whether the register ever made it active. */
  wasActive: boolean;
  /** Whether its grant has run out, and its hold with it. */
  isLapsed: boolean;
  isSuperseded: boolean;
  hasHeardIssued: boolean;
  hasHeardEnd: boolean;
}

export class LimitsModel {
  readonly leases: ModelLease[] = [];
  /** All that was ever published. Any of it may arrive late, twice, or in another order. */
  readonly published: MayflyEvent[] = [];

  constructor(private readonly limits: { readonly perSession: number; readonly concurrent: number }) {}

  successorsOf(lease: ModelLease): ModelLease[] {
    return this.leases.filter(({ predecessor }) => predecessor === lease);
  }

  /** The rule: a lease counts until it has ended, unless its direct successor lives and counts; what is only granted is stood for by its predecessor. */
  counts(lease: ModelLease, without?: ModelLease): boolean {
    if (!mayLive(lease) || lease === without) return false;
    if (this.successorsOf(lease).some((next) => next.hasHeardIssued && mayLive(next))) return false;
    const { predecessor, hasHeardIssued } = lease;
    const isStoodFor =
      !hasHeardIssued && predecessor !== undefined && predecessor !== without && mayLive(predecessor);
    return !isStoodFor;
  }

  /** What policy must answer to a request. */
  expectMint(session: string, key: string | undefined): { outcome: string; superseded?: ModelLease } {
    const first = this.firstOf(session, key);
    let superseded: ModelLease | undefined;
    if (first !== undefined && !first.hasHeardEnd) {
      if (!first.hasHeardIssued && !first.isLapsed) return { outcome: 'still_running' };
      superseded = first;
    }
    const counted = this.leases.filter((lease) => this.counts(lease, superseded));
    const own = counted.filter((lease) => lease.session === session);
    if (own.length >= this.limits.perSession) return { outcome: 'limit_per_session' };
    if (counted.length >= this.limits.concurrent) return { outcome: 'limit_concurrent' };
    return { outcome: 'reserved', ...(superseded !== undefined && { superseded }) };
  }

  firstOf(session: string, key: string | undefined): ModelLease | undefined {
    if (key === undefined) return undefined;
    return this.leases.findLast((lease) => lease.session === session && lease.key === key);
  }

  /** What policy must answer to a renewal. */
  expectRenewal(lease: ModelLease): string {
    if (lease.hasHeardEnd || lease.isSuperseded) return 'lease_ended';
    if (this.successorsOf(lease).some((next) => next.hasHeardIssued || mayLive(next))) return 'rotated';
    if (lease.predecessor !== undefined && !lease.predecessor.hasHeardEnd) return 'predecessor_lives';
    return mayLive(lease) ? 'reserved' : 'place_lost';
  }

  add(lease: Pick<ModelLease, 'id' | 'session' | 'predecessor' | 'key' | 'supersedes'>): void {
    const { supersedes } = lease;
    const replaced = this.firstOf(lease.session, lease.key);
    if (replaced !== undefined) replaced.isSuperseded = true;
    if (supersedes !== undefined) supersedes.isSuperseded = true;
    this.leases.push({
      ...lease,
      truth: 'granted',
      wasActive: false,
      isLapsed: false,
      isSuperseded: false,
      hasHeardIssued: false,
      hasHeardEnd: false,
    });
  }

  /** The register's commit point, with its rules about predecessors. The gateway ends what is superseded before it mints. */
  activate(lease: ModelLease): void {
    if (lease.truth !== 'granted' || lease.isLapsed) return;
    if (lease.supersedes !== undefined) this.end(lease.supersedes, 'credential.revoked');
    const { predecessor } = lease;
    const isRefused =
      predecessor !== undefined &&
      (predecessor.truth !== 'active' ||
        predecessor.predecessor?.truth === 'active' ||
        this.successorsOf(predecessor).some(({ wasActive }) => wasActive));
    if (isRefused) {
      this.#publish('credential.failed', lease);
      lease.truth = 'ended';
      return;
    }
    lease.truth = 'active';
    lease.wasActive = true;
    this.#publish('credential.issued', lease, {
      ...(predecessor !== undefined && { predecessor_id: predecessor.id }),
    });
    if (predecessor !== undefined) {
      this.#publish('credential.renewed', predecessor, {
        successor_id: lease.id,
        renewals: 1,
        expires_at: new Date(Date.now() + 300_000).toISOString(),
      });
    }
  }

  end(lease: ModelLease, type: 'credential.revoked' | 'credential.expired'): void {
    if (lease.truth !== 'active') return;
    lease.truth = 'ended';
    this.#publish(type, lease);
  }

  /** A mint that came to nothing. */
  fail(lease: ModelLease, type: 'credential.failed' | 'credential.orphaned'): void {
    if (lease.truth !== 'granted') return;
    lease.truth = 'ended';
    this.#publish(type, lease);
  }

  hear(events: readonly MayflyEvent[]): void {
    for (const { type, data } of events) {
      const lease = this.leases.find(({ id }) => id === data.lease_id);
      if (lease === undefined) continue;
      if (/issued|renewed/.test(type)) lease.hasHeardIssued = true;
      else lease.hasHeardEnd = true;
    }
  }

  /** Leases that work, by the chain that each is a link of. What is superseded is being ended, for its replacement. */
  livingChains(): ModelLease[][] {
    const chains = new Map<ModelLease, ModelLease[]>();
    for (const lease of this.leases) {
      if (lease.truth !== 'active' || lease.isSuperseded) continue;
      let root = lease;
      while (root.predecessor !== undefined) root = root.predecessor;
      chains.set(root, [...(chains.get(root) ?? []), lease]);
    }
    return [...chains.values()];
  }

  #publish(type: Parameters<typeof newEvent>[1], lease: ModelLease, more = {}): void {
    this.published.push(newEvent('revocation', type, { lease_id: lease.id, ...more }));
  }
}

function mayLive({ hasHeardEnd, hasHeardIssued, isLapsed }: ModelLease): boolean {
  return !hasHeardEnd && (hasHeardIssued || !isLapsed);
}
