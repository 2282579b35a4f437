/** A refusal: the short reason for the asker, the full why for auditors alone. */
import type { ErrorCode } from '@mayfly/contracts';
import type { RunningVersion } from '../configuration/running-configuration.ts';
import type { SignalReporter } from '../reporting/events.ts';
import { actorOf, type Session } from '../sessions/session.ts';
import type { CredentialRequest, Denial } from './decide-request.ts';

/** Reports the denial and answers with what the asker may know. `leaseId`: the lease that it is about, for a renewal. */
export async function refuse(
  signals: SignalReporter,
  denial: Denial,
  request: CredentialRequest,
  session: Session,
  running: RunningVersion,
  leaseId?: string,
): Promise<{ decision: 'deny'; code: ErrorCode; reason: string }> {
  const { credential } = denial;
  await signals.report(
    'request.denied',
    {
      ...actorOf(session),
      ...(leaseId === undefined ? {} : { lease_id: leaseId, action_context: { action: 'renew' } }),
      credential: request.credential,
      ...(credential === undefined
        ? {}
        : { integration: credential.integration.name, provider: credential.provider }),
      ...(request.scope === undefined ? {} : { scope: request.scope }),
      ...(request.ttlSeconds === undefined ? {} : { ttl_seconds: request.ttlSeconds }),
      ...(request.claimedTask === undefined ? {} : { claimed_task: request.claimedTask }),
      ...(request.justification === undefined ? {} : { justification: request.justification }),
      source_ip: request.sourceIp,
      reason: denial.why,
      policy_ids: [...denial.policyIds],
      config_version: running.version,
      outcome: denial.code,
    },
    { subject: session.id },
  );
  return { decision: 'deny', code: denial.code, reason: denial.reason.slice(0, 500) };
}
