/** Metrics of issuing, owned by the gateway. */
import { Counter, Histogram, type Registry } from 'prom-client';

/**
 * Value of the `credential` label for a name that no configuration knows. Strangers choose what they ask for: a name
 * becomes a label value only after policy has found it, everything else is counted under this one.
 */
export const unknownCredential = 'unknown';

/**
 * `credential`: name of a configured credential, or `unknown`.
 * `outcome`: `issued`, `pending`, or a code of the error table.
 */
export type IssuanceLabel = 'credential' | 'outcome';

/** What the gateway tells by default: no names, so that whoever reads metrics does not learn what there is to ask for. */
const namingNobody: readonly IssuanceLabel[] = ['outcome'];

/** `mayfly_issuances_total{outcome}`, with `credential` where it is asked for: answers to `POST /v1/leases`. */
export function issuances(
  registry: Registry,
  labelNames: readonly IssuanceLabel[] = namingNobody,
): Counter<IssuanceLabel> {
  return new Counter({
    name: 'mayfly_issuances_total',
    help: 'Requests for a credential, by credential and outcome',
    labelNames,
    registers: [registry],
  });
}

/** `mayfly_issuance_duration_seconds`, with the same labels: from the request's arrival to its answer, in seconds. */
export function issuanceDuration(
  registry: Registry,
  labelNames: readonly IssuanceLabel[] = namingNobody,
): Histogram<IssuanceLabel> {
  return new Histogram({
    name: 'mayfly_issuance_duration_seconds',
    help: 'Time from the arrival of a request for a credential to its answer',
    labelNames,
    // Up to the 20 s that a provider may take, and a little beyond.
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 25],
    registers: [registry],
  });
}
