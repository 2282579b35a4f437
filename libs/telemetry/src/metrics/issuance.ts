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

/** `mayfly_issuances_total{credential,outcome}`: answers to `POST /v1/leases`. */
export function issuances(registry: Registry): Counter<IssuanceLabel> {
  return new Counter({
    name: 'mayfly_issuances_total',
    help: 'Requests for a credential, by credential and outcome',
    labelNames: ['credential', 'outcome'],
    registers: [registry],
  });
}

/** `mayfly_issuance_duration_seconds{credential,outcome}`: from the request's arrival to its answer, in seconds. */
export function issuanceDuration(registry: Registry): Histogram<IssuanceLabel> {
  return new Histogram({
    name: 'mayfly_issuance_duration_seconds',
    help: 'Time from the arrival of a request for a credential to its answer',
    labelNames: ['credential', 'outcome'],
    // Up to the 20 s that a provider may take, and a little beyond.
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 25],
    registers: [registry],
  });
}
