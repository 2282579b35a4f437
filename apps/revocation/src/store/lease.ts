/** A row of the register as the service uses it. */
import type { Fingerprint, JsonObject, LeaseState, Revocability, UseKeys } from '@mayfly/contracts';
import type { QueryResultRow } from 'pg';

/** What is known of a lease from its intent on. */
export interface LeaseFacts {
  readonly leaseId: string;
  readonly organization: string;
  readonly sessionId: string;
  readonly parentSessionId?: string;
  readonly agentId: string;
  readonly agentRole?: string;
  readonly user?: string;
  readonly task?: string;
  readonly claimedTask?: string;
  readonly credential: string;
  readonly integration: string;
  readonly provider: string;
  readonly scope: JsonObject;
  readonly ttlSeconds: number;
  readonly configVersion: number;
  /** W3C traceparent of the issuance span. */
  readonly issuanceTraceparent: string;
}

/** The whole row, but for what only SQL looks at. */
export interface Lease extends LeaseFacts {
  readonly state: LeaseState;
  readonly revocability?: Revocability;
  readonly renewable: boolean;
  /** How often it has been renewed. */
  readonly renewals: number;
  readonly lastRenewedAt?: Date;
  readonly predecessorId?: string;
  readonly successorId?: string;
  readonly issuedAt?: Date;
  readonly expiresAt?: Date;
  readonly nativeExpiresAt?: Date;
  readonly endedAt?: Date;
  readonly endCause?: 'expired' | 'revoked';
  readonly endReason?: string;
  /** W3C traceparent of the request that caused the end. */
  readonly endTraceparent?: string;
  /** The revocation that started the end. */
  readonly revocationId?: string;
  /** Opaque here: a JWE that minting alone can open. */
  readonly handle?: string;
  readonly fingerprints?: readonly Fingerprint[];
  readonly useKeys?: UseKeys;
  readonly cleanup?: 'pending' | 'done' | 'unreachable';
  /** No login and no session is left: what is still to be cleaned up can do nothing. */
  readonly accessEndedAt?: Date;
  /** When its clean-up was refused for the first time. */
  readonly cleanupFailedAt?: Date;
  /** How often its end or clean-up was tried, the current claim included. */
  readonly attempts: number;
  /** Tells one claim from the next: what it writes counts only while this is the row's. */
  readonly claims: number;
  /** Code of the last failed attempt. */
  readonly lastError?: string;
  /** When something is to be done about it next. */
  readonly dueAt?: Date;
}

/** The upstream account of a lease. The name of an integration is unique within its organization only (I5). */
export function upstreamOf({
  organization,
  integration,
}: Pick<LeaseFacts, 'organization' | 'integration'>): string {
  return `${organization}/${integration}`;
}

/** Stands behind an upstream account in the name of the lane of its clean-ups; no name of an account has a blank. */
const cleanUpLane = ' clean-up';

/**
 * What shares its places with what: the ends of one upstream account, or the clean-ups after ends there, which may be as slow as
 * the holders of the leases made them.
 */
export function laneOf(lease: Pick<Lease, 'organization' | 'integration' | 'accessEndedAt'>): string {
  return `${upstreamOf(lease)}${lease.accessEndedAt === undefined ? '' : cleanUpLane}`;
}

/** Whether a lane is one of clean-ups. */
export function isCleanUpLane(lane: string): boolean {
  return lane.endsWith(cleanUpLane);
}

/** The same as SQL, for a row named `l`. */
export const laneSql = `l.organization || '/' || l.integration || CASE WHEN l.access_ended_at IS NULL THEN '' ELSE '${cleanUpLane}' END`;

/** Columns of the row by the names they have in `Lease`. */
const columnOf = {
  leaseId: 'lease_id',
  state: 'state',
  organization: 'organization',
  sessionId: 'session_id',
  parentSessionId: 'parent_session_id',
  agentId: 'agent_id',
  agentRole: 'agent_role',
  user: 'user',
  task: 'task',
  claimedTask: 'claimed_task',
  credential: 'credential',
  integration: 'integration',
  provider: 'provider',
  scope: 'scope',
  ttlSeconds: 'ttl_seconds',
  configVersion: 'config_version',
  issuanceTraceparent: 'issuance_traceparent',
  revocability: 'revocability',
  renewable: 'renewable',
  renewals: 'renewals',
  lastRenewedAt: 'last_renewed_at',
  predecessorId: 'predecessor_id',
  successorId: 'successor_id',
  issuedAt: 'issued_at',
  expiresAt: 'expires_at',
  nativeExpiresAt: 'native_expires_at',
  endedAt: 'ended_at',
  endCause: 'end_cause',
  endReason: 'end_reason',
  endTraceparent: 'end_traceparent',
  revocationId: 'revocation_id',
  handle: 'handle',
  fingerprints: 'fingerprints',
  useKeys: 'use_keys',
  cleanup: 'cleanup',
  accessEndedAt: 'access_ended_at',
  cleanupFailedAt: 'cleanup_failed_at',
  attempts: 'attempts',
  claims: 'claims',
  lastError: 'last_error',
  dueAt: 'due_at',
} as const satisfies Record<keyof Lease, string>;

const names = Object.entries(columnOf) as [keyof Lease, string][];

/** Select list of a whole lease, for a table or record named `from`. */
export function leaseColumns(from: string): string {
  return names.map(([, column]) => `${from}."${column}"`).join(', ');
}

/** A row of `leaseColumns` as a lease: nulls are left out. The table's constraints vouch for the rest. */
export function toLease(row: QueryResultRow): Lease {
  const lease: Record<string, unknown> = {};
  for (const [name, column] of names) {
    const value: unknown = row[column];
    if (value !== null && value !== undefined) lease[name] = value;
  }
  return lease as unknown as Lease;
}

/** Facts as the object of columns that the store functions take. */
export function factColumns(facts: LeaseFacts): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(facts).map(([name, value]) => [columnOf[name as keyof LeaseFacts], value as unknown]),
  );
}
