/** Metrics of the verification of the audit log, owned by audit. */
import { Counter, Gauge, type Registry } from 'prom-client';

/** `full`: the whole log with its indexes. `recent`: that, or what has been written since the last time. */
export type VerificationScope = 'recent' | 'full';

/**
 * `mayfly_audit_verified_timestamp_seconds{scope}`: when the log was last found intact, in seconds since 1970; before the first time, when
 * this process has started. The newest of all replicas counts.
 */
export function auditVerifiedAt(registry: Registry): Gauge<'scope'> {
  return new Gauge({
    name: 'mayfly_audit_verified_timestamp_seconds',
    help: 'When the audit log was last found intact',
    labelNames: ['scope'],
    registers: [registry],
  });
}

/** `mayfly_audit_findings{problem}`: what the last verification of this replica has found wrong; 0 when it found nothing. */
export function auditFindings(registry: Registry): Gauge<'problem'> {
  return new Gauge({
    name: 'mayfly_audit_findings',
    help: 'What the last verification of the audit log has found wrong',
    labelNames: ['problem'],
    registers: [registry],
  });
}

/** How a verification ended. `failed`: it could not be done, so nothing is known. */
export type VerificationOutcome = 'intact' | 'broken' | 'failed';

/** `mayfly_audit_verifications_total{outcome}`: verifications of the log by this replica. */
export function auditVerifications(registry: Registry): Counter<'outcome'> {
  return new Counter({
    name: 'mayfly_audit_verifications_total',
    help: 'Verifications of the audit log, by outcome',
    labelNames: ['outcome'],
    registers: [registry],
  });
}
