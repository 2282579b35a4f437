/**
 * The decision on a request for a credential, all of it that needs no table: who, what, how wide, how long, permitted or
 * not, approved or not. Pure. Limits come after it, because only what is allowed may take a reservation.
 */
import type { ErrorCode, JsonObject } from '@mayfly/contracts';
import type { CredentialConfig, OrganizationConfig } from '@mayfly/configuration';
import { decideTtl, providerDefinitions } from '@mayfly/domain';
import type { RunningVersion } from '../configuration/running-configuration.ts';
import type { Session } from '../sessions/session.ts';
import { decideApproval } from './approval.ts';

export interface CredentialRequest {
  /** As asked: not yet known to be a name at all. */
  readonly credential: string;
  readonly ttlSeconds?: number;
  readonly scope?: JsonObject;
  readonly claimedTask?: string;
  readonly justification?: string;
  readonly sourceIp: string;
}

export type TtlAdjustment = { readonly requestedSeconds: number; readonly reason: string };

export type Decision =
  | {
      readonly decision: 'allow';
      readonly credential: CredentialConfig;
      readonly organization: OrganizationConfig;
      /** Narrowed: never wider than asked or than the credential's bounds (I4). */
      readonly scope: JsonObject;
      readonly ttlSeconds: number;
      readonly ttlAdjusted?: TtlAdjustment;
      /** At most 64. */
      readonly policyIds: readonly string[];
    }
  | Denial;

export interface Denial {
  readonly decision: 'deny';
  readonly code: ErrorCode;
  /** What the asker may read. */
  readonly reason: string;
  /** The full why, for auditors alone. */
  readonly why: string;
  readonly policyIds: readonly string[];
  /** Absent for a name that the organization does not have. */
  readonly credential?: CredentialConfig;
}

/** How long a lease may be, from what is asked; or why there may be none. `scope` is narrowed already. */
export type DecideTerm = (
  credential: CredentialConfig,
  scope: JsonObject,
) => { readonly ttlSeconds: number; readonly ttlAdjusted?: TtlAdjustment } | Denial;

/**
 * The decision. Policies judge the TTL that `decideTerm` grants and no other, so nothing may be granted for longer than they
 * have seen. Without `decideTerm` it is that of a first lease, cut at the end of the session that asks.
 */
export function decideRequest(
  request: CredentialRequest,
  session: Session,
  { configuration, evaluator }: Pick<RunningVersion, 'configuration' | 'evaluator'>,
  now: Date,
  decideTerm: DecideTerm = (credential) => firstTerm(request, session, credential, now),
): Decision {
  // Looked up in the session's organization alone, so another organization's credential is as unknown as any (I5).
  const credential = configuration.credential(session.organization, request.credential);
  const organization = configuration.organizations.get(session.organization);
  if (credential === undefined || organization === undefined) {
    return deny('not_found', `no credential ${request.credential} that you may ask for`);
  }
  if (session.kind !== 'agent') {
    return deny('policy_denied', 'credentials are for agents, not for people', { credential });
  }

  const definition = providerDefinitions.get(credential.provider);
  if (definition === undefined) {
    return deny('internal', 'the provider of the credential is not known', { credential });
  }
  const narrowed = definition.narrow(request.scope, credential.scope);
  if (narrowed.outcome === 'malformed') return deny('invalid_request', narrowed.reason, { credential });
  if (narrowed.outcome === 'exceeded') return deny('scope_exceeded', narrowed.reason, { credential });

  const term = decideTerm(credential, narrowed.scope);
  if ('decision' in term) return term;

  const permitted = evaluator.evaluate({
    organization: session.organization,
    agentId: session.agentId,
    kind: session.kind,
    ...(session.agentRole === undefined ? {} : { agentRole: session.agentRole }),
    ...(session.user === undefined ? {} : { user: session.user }),
    ...(session.task === undefined ? {} : { task: session.task }),
    credential,
    context: {
      source_ip: request.sourceIp,
      ttl_seconds: term.ttlSeconds,
      ...(request.claimedTask === undefined ? {} : { claimed_task: request.claimedTask }),
      justification_given: request.justification !== undefined,
      now_hour: now.getUTCHours(),
    },
  });
  const { policyIds } = permitted;
  if (permitted.decision === 'deny') {
    const who = session.agentRole ?? 'an agent without a role';
    return deny('policy_denied', `no policy permits ${who} to mint ${credential.name}`, {
      credential,
      policyIds,
      why: permitted.reason,
    });
  }

  const approval = decideApproval(credential);
  if (approval.outcome === 'refused') {
    return deny('policy_denied', approval.reason, { credential, policyIds });
  }
  return {
    decision: 'allow',
    credential,
    organization,
    scope: narrowed.scope,
    ttlSeconds: term.ttlSeconds,
    ...(term.ttlAdjusted === undefined ? {} : { ttlAdjusted: term.ttlAdjusted }),
    policyIds,
  };
}

function firstTerm(
  request: CredentialRequest,
  session: Session,
  credential: CredentialConfig,
  now: Date,
): ReturnType<DecideTerm> {
  const remainingSeconds = (session.expiresAt.getTime() - now.getTime()) / 1000;
  // Clocks differ: whether the session has ended is told by Postgres' clock, when the reservation is made.
  const ttl = decideTtl(request.ttlSeconds, credential.ttl, Math.max(1, remainingSeconds));
  if (ttl.outcome === 'exceeded') {
    return deny('ttl_exceeded', `the TTL may be at most ${ttl.maxSeconds} seconds`, { credential });
  }
  return {
    ttlSeconds: ttl.ttlSeconds,
    ...(ttl.adjusted === undefined ? {} : { ttlAdjusted: ttl.adjusted }),
  };
}

/** A refusal; `why` is the asker's reason unless there is more to say. */
export function deny(
  code: ErrorCode,
  reason: string,
  more: { credential?: CredentialConfig; policyIds?: readonly string[]; why?: string } = {},
): Denial {
  const { credential, policyIds = [], why = reason } = more;
  return {
    decision: 'deny',
    code,
    reason,
    why,
    policyIds,
    ...(credential === undefined ? {} : { credential }),
  };
}
