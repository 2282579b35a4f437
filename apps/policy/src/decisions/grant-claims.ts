/** The claims of a grant. */
import type { GrantClaims, RecipientKey } from '@mayfly/contracts';
import type { RunningVersion } from '../configuration/running-configuration.ts';
import { actorOf, type Session } from '../sessions/session.ts';
import type { Decision } from './decide-request.ts';
import { renewalOf } from './renewal-terms.ts';

type Allowed = Extract<Decision, { decision: 'allow' }>;

/** What of the request itself goes into the grant. */
export interface Asked {
  readonly claimed_task?: string | undefined;
  readonly justification?: string | undefined;
  readonly source_ip: string;
  /** For a session without a recipient key of its own. */
  readonly reply_key: RecipientKey;
}

/**
 * All that minting and revocation need to know of an allowed request.
 * @param session Its end as Postgres has it: the register holds the lease to it.
 */
export function grantClaims(
  leaseId: string,
  grantedAt: Date,
  { credential, organization, scope, policyIds }: Allowed,
  ttlSeconds: number,
  input: Asked,
  session: Session,
  running: RunningVersion,
): GrantClaims {
  return {
    jti: leaseId,
    granted_at: grantedAt.toISOString(),
    actor: actorOf(session),
    ...(input.claimed_task === undefined ? {} : { claimed_task: input.claimed_task }),
    ...(input.justification === undefined ? {} : { justification: input.justification }),
    source_ip: input.source_ip,
    credential: credential.name,
    provider: credential.provider,
    integration: {
      name: credential.integration.name,
      settings: credential.integration.settings,
      secret_references: [...organization.secretReferences],
    },
    settings: credential.settings,
    bounds: credential.scope,
    scope,
    ttl_seconds: ttlSeconds,
    session_expires_at: session.expiresAt.toISOString(),
    ...renewalOf(credential),
    recipient_key: session.recipientKey ?? input.reply_key,
    recipient: session.recipientKey === undefined ? 'gateway' : 'session',
    policy_ids: policyIds.slice(0, 64),
    config_version: running.version,
  };
}
