/** Metrics of admission, owned by the gateway. */
import { Counter, Gauge, type Registry } from 'prom-client';
import { collecting, type Collect } from './leases.ts';

/**
 * Why a request was turned away: too many at once, overall, of one address, or mints of one organization; too many from one address, or of one
 * organization.
 */
export type RefusalCause =
  'in_flight' | 'source_in_flight' | 'organization_in_flight' | 'source_rate' | 'organization_rate';

/** `mayfly_refused_requests_total{cause}`: requests answered with `rate_limited` before any work was done for them, or before the mint. */
export function refusedRequests(registry: Registry): Counter<'cause'> {
  return new Counter({
    name: 'mayfly_refused_requests_total',
    help: 'Requests turned away before any work was done, by cause',
    labelNames: ['cause'],
    registers: [registry],
  });
}

/**
 * Why a connection was closed. For others: too many connections of one address (`source_connections`) or altogether (`connections`), too
 * many unread bodies of one address (`source_bodies`) or altogether (`bodies`). For itself: no request for too long (`idle`), a request
 * that came too slowly (`slow_request`), an answer that was not read (`slow_answer`), or too many of them (`unread_answers`).
 */
export type ConnectionCut =
  | 'source_connections'
  | 'connections'
  | 'source_bodies'
  | 'bodies'
  | 'idle'
  | 'slow_request'
  | 'slow_answer'
  | 'unread_answers';

/** `mayfly_cut_connections_total{cause}`: connections that the gateway closed for a bound. */
export function cutConnections(registry: Registry): Counter<'cause'> {
  return new Counter({
    name: 'mayfly_cut_connections_total',
    help: 'Connections that were closed for a bound, by cause',
    labelNames: ['cause'],
    registers: [registry],
  });
}

/** `mayfly_open_connections`: connections of clients that are open now. */
export function openConnections(registry: Registry, collect?: Collect<string>): Gauge {
  return new Gauge({
    name: 'mayfly_open_connections',
    help: 'Connections of clients that are open',
    registers: [registry],
    ...collecting(collect),
  });
}
