/** Metrics of admission, owned by the gateway. */
import { Counter, type Registry } from 'prom-client';

/** Why a request was turned away: too many at once, overall or of one address; too many from one address, or of one organization. */
export type RefusalCause = 'in_flight' | 'source_in_flight' | 'source_rate' | 'organization_rate';

/** `mayfly_refused_requests_total{cause}`: requests answered with `rate_limited` before any work was done for them. */
export function refusedRequests(registry: Registry): Counter<'cause'> {
  return new Counter({
    name: 'mayfly_refused_requests_total',
    help: 'Requests turned away before any work was done, by cause',
    labelNames: ['cause'],
    registers: [registry],
  });
}
