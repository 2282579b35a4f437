/** Reading revocations: how far each is, and its leases. */
import type { Revocability, RevocationSubject } from '@mayfly/contracts';
import { asDependencyError } from '@mayfly/postgres';
import type { Pool, QueryResultRow } from 'pg';
import { everyOrganization } from './revocations.ts';

export interface RevocationProgress {
  readonly revocationId: string;
  readonly organization: string;
  readonly subject: RevocationSubject;
  readonly reason: string;
  readonly askedBy: string;
  readonly askedAt: Date;
  readonly gatheredAt: Date | undefined;
  readonly doneAt: Date | undefined;
  readonly immediate: number;
  readonly eventual: number;
  readonly expiryOnly: number;
  readonly pending: number;
  readonly failing: number;
}

/** Whose revocations may be seen: those of an organization, those of everything, or both. */
export interface Visibility {
  /** Undefined for a platform administrator who is no administrator of an organization. */
  readonly organization: string | undefined;
  readonly everything: boolean;
  /** Beside these what somebody has asked for in the own organization: a platform administrator who has removed something there. */
  readonly askedBy: { readonly organization: string; readonly agentId: string } | undefined;
}

/** Of a revocation `r`; the parameters are those of `visibleValues`. */
const isVisible = '(r.organization = ANY ($2::text[]) OR (r.organization = $3 AND r.asked_by = $4))';

export interface LeaseOfRevocation {
  readonly leaseId: string;
  readonly organization: string;
  readonly credential: string;
  readonly agentId: string;
  readonly isFailing: boolean;
  readonly revocability: Revocability;
  readonly nativeExpiresAt: Date | undefined;
  readonly endedAt: Date | undefined;
}

// Counts what has not ended: of that, every lease is still in the register, whereas ended ones may have been forgotten.
const progress = `
  SELECT r.revocation_id, r.organization, r.subject_kind, r.subject_id, r.reason, r.asked_by, r.asked_at, r.gathered_at,
    r.done_at, r.immediate, r.eventual, r.expiry_only, open.pending, open.failing
  FROM revocation.revocations r
  CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE l.state <> 'revocation_failed')::integer AS pending,
      count(*) FILTER (WHERE l.state = 'revocation_failed')::integer AS failing
    FROM revocation.revocation_leases m JOIN revocation.leases l ON l.lease_id = m.lease_id
    WHERE r.done_at IS NULL AND m.revocation_id = r.revocation_id AND l.ended_at IS NULL) open`;

async function query(pool: Pool, name: string, text: string, values: unknown[]): Promise<QueryResultRow[]> {
  try {
    return (await pool.query<QueryResultRow>({ name, text, values })).rows;
  } catch (error) {
    throw asDependencyError(error);
  }
}

/** The revocation, if it may be seen. */
export async function findRevocation(
  pool: Pool,
  revocationId: string,
  visible: Visibility,
): Promise<RevocationProgress | undefined> {
  const [row] = await query(
    pool,
    'find_revocation',
    `${progress} WHERE r.revocation_id = $1 AND ${isVisible}`,
    [revocationId, ...visibleValues(visible)],
  );
  return row === undefined ? undefined : toProgress(row);
}

/** Newest first. @param before Ids below this one: the last of the page before. */
export async function listRevocations(
  pool: Pool,
  visible: Visibility,
  before: string | undefined,
  limit: number,
): Promise<RevocationProgress[]> {
  const rows = await query(
    pool,
    'list_revocations',
    `${progress} WHERE r.revocation_id < $1::uuid AND ${isVisible} ORDER BY r.revocation_id DESC LIMIT $5`,
    [before ?? 'ffffffff-ffff-ffff-ffff-ffffffffffff', ...visibleValues(visible), limit],
  );
  return rows.map(toProgress);
}

export type LeaseSelection = 'all' | 'ended' | 'open';

/** Where a page ended. `endedAt` with `ended` alone: RFC 3339 with microseconds, as exact as Postgres has it. */
export interface LeasePlace {
  readonly leaseId: string;
  readonly endedAt?: string;
}

const nil = '00000000-0000-0000-0000-000000000000';

/** Leases of a revocation: in the order of their ends with `ended`, otherwise of their ids. */
export async function leasesOfRevocation(
  pool: Pool,
  revocationId: string,
  selection: LeaseSelection,
  after: LeasePlace | undefined,
  limit: number,
): Promise<{ leases: LeaseOfRevocation[]; next: LeasePlace | undefined }> {
  const byEnd = selection === 'ended';
  const condition = { all: 'true', ended: 'l.ended_at IS NOT NULL', open: 'l.ended_at IS NULL' }[selection];
  const place = byEnd
    ? '(l.ended_at, l.lease_id) > ($3::timestamptz, $2::uuid) ORDER BY l.ended_at, l.lease_id'
    : 'm.lease_id > $2::uuid ORDER BY m.lease_id';
  const rows = await query(
    pool,
    `leases_of_revocation_${selection}`,
    `SELECT l.lease_id, l.organization, l.credential, l.agent_id, l.state, l.revocability, l.native_expires_at, l.ended_at,
       to_char(l.ended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS end_place
     FROM revocation.revocation_leases m JOIN revocation.leases l ON l.lease_id = m.lease_id
     WHERE m.revocation_id = $1 AND ${condition} AND ${place} LIMIT $${byEnd ? 4 : 3}`,
    [revocationId, after?.leaseId ?? nil, ...(byEnd ? [after?.endedAt ?? '-infinity'] : []), limit],
  );
  // More may end later, so the ended ones can always be continued.
  const last = byEnd || rows.length === limit ? rows.at(-1) : undefined;
  return {
    leases: rows.map((row) => ({
      leaseId: row['lease_id'] as string,
      organization: row['organization'] as string,
      credential: row['credential'] as string,
      agentId: row['agent_id'] as string,
      isFailing: row['state'] === 'revocation_failed',
      revocability: row['revocability'] as Revocability,
      nativeExpiresAt: (row['native_expires_at'] as Date | null) ?? undefined,
      endedAt: (row['ended_at'] as Date | null) ?? undefined,
    })),
    next:
      last === undefined
        ? undefined
        : {
            leaseId: last['lease_id'] as string,
            ...(byEnd ? { endedAt: last['end_place'] as string } : {}),
          },
  };
}

function visibleValues({ organization, everything, askedBy }: Visibility): unknown[] {
  const whole = [
    ...(organization === undefined ? [] : [organization]),
    ...(everything ? [everyOrganization] : []),
  ];
  return [whole, askedBy?.organization ?? null, askedBy?.agentId ?? null];
}

function toProgress(row: QueryResultRow): RevocationProgress {
  const kind = row['subject_kind'] as RevocationSubject['kind'];
  return {
    revocationId: row['revocation_id'] as string,
    organization: row['organization'] as string,
    subject: kind === 'everything' ? { kind } : { kind, id: row['subject_id'] as string },
    reason: row['reason'] as string,
    askedBy: row['asked_by'] as string,
    askedAt: row['asked_at'] as Date,
    gatheredAt: (row['gathered_at'] as Date | null) ?? undefined,
    doneAt: (row['done_at'] as Date | null) ?? undefined,
    immediate: row['immediate'] as number,
    eventual: row['eventual'] as number,
    expiryOnly: row['expiry_only'] as number,
    pending: row['pending'] as number,
    failing: row['failing'] as number,
  };
}
