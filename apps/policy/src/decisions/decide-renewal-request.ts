/**
 * The decision on a renewal: everything that a request for the same lease would be asked today, and how far it may go. Pure.
 */
import { canonicalJson, decideRenewal, type RenewalDecision } from '@mayfly/domain';
import type { CredentialConfig } from '@mayfly/configuration';
import type { RunningVersion } from '../configuration/running-configuration.ts';
import type { Session } from '../sessions/session.ts';
import type { RenewableLease } from '../store/renewable-leases.ts';
import { decideRequest, deny, type CredentialRequest, type Decision, type Denial } from './decide-request.ts';

type Allowed = Extract<Decision, { decision: 'allow' }>;

export interface AllowedRenewal {
  readonly decision: 'allow';
  readonly allowed: Allowed;
  readonly renewal: NonNullable<CredentialConfig['renewal']>;
  readonly granted: Extract<RenewalDecision, { outcome: 'granted' }>;
}

/** The request that a renewal is decided as. Without a TTL of its own it asks for as much as the lease was granted with. */
export function renewalRequest(
  lease: RenewableLease,
  asked: { readonly ttlSeconds?: number; readonly sourceIp: string },
  session: Pick<Session, 'organization'>,
  { configuration }: Pick<RunningVersion, 'configuration'>,
): CredentialRequest {
  const longest = configuration.credential(session.organization, lease.credential)?.ttl.maxSeconds;
  return {
    credential: lease.credential,
    ttlSeconds: asked.ttlSeconds ?? Math.min(lease.ttlSeconds, longest ?? Infinity),
    scope: lease.scope,
    ...(lease.claimedTask === undefined ? {} : { claimedTask: lease.claimedTask }),
    ...(lease.justification === undefined ? {} : { justification: lease.justification }),
    sourceIp: asked.sourceIp,
  };
}

/**
 * How far the renewal goes is decided first, by the end of the lease's own session, and that is the TTL which policies judge: the
 * session that asks may be another one, with another end. `now` and `sessionExpiresAt` are Postgres'.
 */
export function decideRenewalRequest(
  request: CredentialRequest,
  lease: RenewableLease,
  session: Session,
  running: Pick<RunningVersion, 'configuration' | 'evaluator'>,
  { now, sessionExpiresAt }: { readonly now: Date; readonly sessionExpiresAt: Date },
): AllowedRenewal | Denial {
  let decided: Pick<AllowedRenewal, 'renewal' | 'granted'> | undefined;
  const allowed = decideRequest(request, session, running, now, (credential, scope) => {
    const term = decideTermOfRenewal(request, lease, credential, scope, { now, sessionExpiresAt });
    if ('decision' in term) return term;
    decided = term;
    return { ttlSeconds: term.granted.ttlSeconds };
  });
  if (allowed.decision === 'deny') return allowed;
  if (decided === undefined) throw new Error('a renewal was allowed without a term');
  return { decision: 'allow', allowed, ...decided };
}

function decideTermOfRenewal(
  request: CredentialRequest,
  lease: RenewableLease,
  credential: CredentialConfig,
  scope: Allowed['scope'],
  { now, sessionExpiresAt }: { readonly now: Date; readonly sessionExpiresAt: Date },
): Pick<AllowedRenewal, 'renewal' | 'granted'> | Denial {
  const { renewal } = credential;
  if (renewal === undefined) return notRenewable(credential);
  // What is minted already can't be narrowed.
  if (canonicalJson(scope) !== canonicalJson(lease.scope)) {
    return deny('scope_exceeded', 'the credential no longer allows the scope of the lease', { credential });
  }
  const granted = decideRenewal(request.ttlSeconds, credential.ttl, renewal, lease, sessionExpiresAt, now);
  switch (granted.outcome) {
    case 'granted':
      return { renewal, granted };
    case 'exceeded':
      return deny('ttl_exceeded', `the TTL may be at most ${granted.maxSeconds} seconds`, { credential });
    case 'too_often':
      return deny('policy_denied', `it has been renewed ${granted.maxCount} times, which is the most`, {
        credential,
      });
    case 'at_end':
      return deny('ttl_exceeded', `it can't be renewed: ${atEnd[granted.limit]}`, { credential });
  }
}

const atEnd = { max_life: 'it is at its maximum life', session: 'its session is about to end' } as const;

export function notRenewable(credential: CredentialConfig | undefined): Denial {
  const reason = 'leases of this credential are not renewable';
  return deny('policy_denied', reason, credential === undefined ? {} : { credential });
}
