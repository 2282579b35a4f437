/** Metrics of the lease register, owned by revocation. */
import { Counter, Gauge, type Registry } from 'prom-client';

/** Reads the value at each scrape, so that nothing needs to be kept up to date in between. */
export type Collect<Label extends string> = (gauge: Gauge<Label>) => void | Promise<void>;

/** `mayfly_live_leases{state}`: leases that have not ended, by lease state. Not by organization: that is unbounded. */
export function liveLeases(registry: Registry, collect?: Collect<'state'>): Gauge<'state'> {
  return new Gauge({
    name: 'mayfly_live_leases',
    help: 'Leases that have not ended, by state',
    labelNames: ['state'],
    registers: [registry],
    ...collecting(collect),
  });
}

/** `mayfly_due_lag_seconds`: how long the most overdue lease has been due, in seconds; 0 when none is. */
export function dueLag(registry: Registry, collect?: Collect<string>): Gauge {
  return new Gauge({
    name: 'mayfly_due_lag_seconds',
    help: 'How long the most overdue lease has been due',
    registers: [registry],
    ...collecting(collect),
  });
}

/** `mayfly_revocation_failures_total{provider}`: attempts to end a lease at its provider that failed. */
export function revocationFailures(registry: Registry): Counter<'provider'> {
  return new Counter({
    name: 'mayfly_revocation_failures_total',
    help: 'Failed attempts to end a lease at its provider',
    labelNames: ['provider'],
    registers: [registry],
  });
}

/**
 * `mayfly_found_upstream_total{provider,found}`: what a comparison with an upstream found: `stray`, something of Mayfly that no
 * living lease stands for; `vanished`, a lease whose thing was gone.
 */
export function foundUpstream(registry: Registry): Counter<'provider' | 'found'> {
  return new Counter({
    name: 'mayfly_found_upstream_total',
    help: 'Differences found between an upstream and the register',
    labelNames: ['provider', 'found'],
    registers: [registry],
  });
}

/**
 * `mayfly_failing_leases{work}`: leases whose end (`end`) or clean-up (`cleanup`) has failed and is tried again. Those of `end` may still
 * work. Those of `cleanup` don't: their access has ended, or they are what mints left that came to nothing.
 */
export function failingLeases(registry: Registry, collect?: Collect<'work'>): Gauge<'work'> {
  return new Gauge({
    name: 'mayfly_failing_leases',
    help: 'Leases whose end or clean-up has failed and is tried again',
    labelNames: ['work'],
    registers: [registry],
    ...collecting(collect),
  });
}

/**
 * `mayfly_pending_cleanups`: leases whose access has ended and that have left something upstream which is still to be removed. They
 * can do nothing any more.
 */
export function pendingCleanUps(registry: Registry, collect?: Collect<string>): Gauge {
  return new Gauge({
    name: 'mayfly_pending_cleanups',
    help: 'Leases whose access has ended and that are still to be cleaned up after',
    registers: [registry],
    ...collecting(collect),
  });
}

/** `mayfly_open_revocations`: revocations that were accepted and of which not all leases have ended. */
export function openRevocations(registry: Registry, collect?: Collect<string>): Gauge {
  return new Gauge({
    name: 'mayfly_open_revocations',
    help: 'Revocations that were accepted and are not done',
    registers: [registry],
    ...collecting(collect),
  });
}

/** `mayfly_oldest_open_revocation_seconds`: how long ago the oldest of those was accepted; 0 when there is none. */
export function oldestOpenRevocation(registry: Registry, collect?: Collect<string>): Gauge {
  return new Gauge({
    name: 'mayfly_oldest_open_revocation_seconds',
    help: 'How long ago the oldest revocation was accepted that is not done',
    registers: [registry],
    ...collecting(collect),
  });
}

/** `mayfly_open_breakers`: integrations that this replica leaves alone, but for an attempt every few seconds, because they fail. */
export function openBreakers(registry: Registry, collect?: Collect<string>): Gauge {
  return new Gauge({
    name: 'mayfly_open_breakers',
    help: 'Integrations whose circuit breaker is open',
    registers: [registry],
    ...collecting(collect),
  });
}

/** prom-client calls `collect` with the gauge as `this`. */
export function collecting<Label extends string>(collect: Collect<Label> | undefined) {
  if (collect === undefined) return {};
  return {
    collect(this: Gauge<Label>): void | Promise<void> {
      return collect(this);
    },
  };
}
