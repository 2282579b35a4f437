/** Metrics that every service has of itself. */
import { Gauge, type Registry } from 'prom-client';
import { collecting, type Collect } from './leases.ts';

/**
 * `mayfly_ready{check}`: 1 when a check of `/readyz` says yes, 0 when it says no or does not answer. A service that can't reach
 * Postgres still answers its scrapes, with its last values: this is what tells.
 */
export function ready(registry: Registry, collect?: Collect<'check'>): Gauge<'check'> {
  return new Gauge({
    name: 'mayfly_ready',
    help: 'Whether a check of readiness says yes',
    labelNames: ['check'],
    registers: [registry],
    ...collecting(collect),
  });
}

/**
 * `mayfly_peer_away{peer}`: 1 while another service of Mayfly does not answer this one at all, and what needs it is refused at once; 0 when it
 * does again. Services that were never away have no series.
 */
export function peerAway(registry: Registry): Gauge<'peer'> {
  return new Gauge({
    name: 'mayfly_peer_away',
    help: 'Whether another service of Mayfly does not answer this one',
    labelNames: ['peer'],
    registers: [registry],
  });
}
