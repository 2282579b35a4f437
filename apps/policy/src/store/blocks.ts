/** Blocks in Postgres. All times by its clock. Decisions look at them inside `policy.reserve_lease`. */
import type { BlockSubject } from '@mayfly/contracts';
import { rowsOf, type Database } from './statement.ts';

export interface StoredBlock {
  readonly id: string;
  readonly organization: string;
  readonly subject: BlockSubject;
  readonly reason: string;
  readonly addedBy: string;
  readonly addedAt: Date;
  /** Undefined: until it is removed. */
  readonly until: Date | undefined;
}

export interface NewBlock extends Pick<
  StoredBlock,
  'id' | 'organization' | 'subject' | 'reason' | 'addedBy'
> {
  /** Undefined: until it is removed. */
  readonly forSeconds: number | undefined;
  /** Asked for by a platform administrator: for as long as that one says it keeps a person with that role out too. */
  readonly bindsPlatform: boolean;
}

/** Until when a block that a platform administrator asked for binds as such: as long as it lasts where an earlier release stored it. */
const platformUntil = `coalesce(b.platform_until, b.until, 'infinity')`;

/** Whether it keeps out platform administrators at this moment. */
const bindsNow = `(b.binds_platform AND ${platformUntil} > clock_timestamp())`;

/**
 * Stores a block, or makes the one that its subject has last at least as long; never shorter, whoever asks for less. How long it binds
 * platform administrators only one of them prolongs, and while it does, it tells of them and their reason: an organization's administrator
 * would otherwise keep them out, or pass their block off as its own.
 */
export async function upsertBlock(database: Database, block: NewBlock): Promise<StoredBlock> {
  const [row] = await rowsOf<BlockRow>(database, {
    name: 'upsert-block',
    text: `INSERT INTO policy.blocks AS b
             (block_id, organization, subject_kind, subject_id, reason, added_by, added_at, until, binds_platform, platform_until)
           VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp(), clock_timestamp() + make_interval(secs => $7), $8,
             CASE WHEN $8 THEN coalesce(clock_timestamp() + make_interval(secs => $7), 'infinity') END)
           ON CONFLICT (organization, subject_kind, subject_id) DO UPDATE SET
             reason = CASE WHEN excluded.binds_platform OR NOT ${bindsNow} THEN excluded.reason ELSE b.reason END,
             added_by = CASE WHEN excluded.binds_platform OR NOT ${bindsNow} THEN excluded.added_by ELSE b.added_by END,
             binds_platform = excluded.binds_platform OR ${bindsNow},
             platform_until = CASE WHEN excluded.binds_platform OR ${bindsNow}
               THEN greatest(CASE WHEN b.binds_platform THEN ${platformUntil} END, excluded.platform_until) END,
             until = CASE WHEN b.until IS NOT NULL AND excluded.until IS NOT NULL THEN greatest(b.until, excluded.until) END
           RETURNING ${columns}`,
    values: [
      block.id,
      block.organization,
      block.subject.kind,
      block.subject.id,
      block.reason,
      block.addedBy,
      block.forSeconds ?? null,
      block.bindsPlatform,
    ],
  });
  if (row === undefined) throw new Error('INSERT … RETURNING gave no row');
  return blockOf(row);
}

/**
 * The block, now gone, if the organization had it. One that keeps out platform administrators stays unless `asPlatform`: `binding`, and
 * undefined when there is none.
 */
export async function deleteBlock(
  database: Database,
  organization: string,
  id: string,
  { asPlatform }: { readonly asPlatform: boolean },
): Promise<StoredBlock | 'binding' | undefined> {
  const [row] = await rowsOf<BlockRow>(database, {
    name: 'delete-block',
    text: `DELETE FROM policy.blocks b
           WHERE b.organization = $1 AND b.block_id = $2 AND ($3 OR NOT ${bindsNow}) RETURNING ${columns}`,
    values: [organization, id, asPlatform],
  });
  if (row !== undefined) return blockOf(row);
  const [kept] = await rowsOf(database, {
    name: 'block-that-stays',
    text: 'SELECT FROM policy.blocks b WHERE b.organization = $1 AND b.block_id = $2',
    values: [organization, id],
  });
  return kept === undefined ? undefined : 'binding';
}

/** Removes at most `limit` blocks whose time is over. */
export async function deleteLapsedBlocks(database: Database, limit: number): Promise<StoredBlock[]> {
  const rows = await rowsOf<BlockRow>(database, {
    name: 'delete-lapsed-blocks',
    text: `DELETE FROM policy.blocks b WHERE b.block_id IN (
             SELECT block_id FROM policy.blocks WHERE until <= now() ORDER BY until LIMIT $1 FOR UPDATE SKIP LOCKED
           )
           RETURNING ${columns}`,
    values: [limit],
  });
  return rows.map(blockOf);
}

/** Those in force, newest first. @param before Ids below this one: the last of the page before. */
export async function listBlocks(
  database: Database,
  organization: string,
  before: string | undefined,
  limit: number,
): Promise<StoredBlock[]> {
  const rows = await rowsOf<BlockRow>(database, {
    name: 'list-blocks',
    text: `SELECT ${columns} FROM policy.blocks b
           WHERE b.organization = $1 AND b.block_id < $2::uuid AND (b.until IS NULL OR b.until > now())
           ORDER BY b.block_id DESC LIMIT $3`,
    values: [organization, before ?? 'ffffffff-ffff-ffff-ffff-ffffffffffff', limit],
  });
  return rows.map(blockOf);
}

/** Who asks, and for what; what does not apply, such as the session of one that is only being opened, is left out. */
export interface BlockedFacts {
  readonly organization: string;
  readonly sessionId?: string;
  readonly agentId: string;
  readonly user?: string | undefined;
  readonly credential?: string;
}

/** The block that stops it, if any. */
export async function findBlock(database: Database, facts: BlockedFacts): Promise<StoredBlock | undefined> {
  const [row] = await rowsOf<BlockRow>(database, {
    name: 'find-block',
    text: `SELECT ${columns} FROM policy.blocks b
           WHERE b.block_id = policy.block_for($1, $2, $3, $4, $5, clock_timestamp())`,
    values: [
      facts.organization,
      facts.sessionId ?? null,
      facts.agentId,
      facts.user ?? null,
      facts.credential ?? null,
    ],
  });
  return row === undefined ? undefined : blockOf(row);
}

/** Whether a person is blocked as a platform administrator, too. */
export async function bindsPlatform(
  database: Database,
  { organization, agentId, user }: Pick<BlockedFacts, 'organization' | 'agentId' | 'user'>,
): Promise<boolean> {
  const [row] = await rowsOf<{ binds: boolean }>(database, {
    name: 'binds-platform',
    text: `SELECT EXISTS (
             SELECT FROM policy.blocks b
             WHERE b.organization = $1 AND (b.subject_kind, b.subject_id) IN (('agent', $2), ('user', $3))
               AND ${bindsNow}) AS binds`,
    values: [organization, agentId, user ?? null],
  });
  return row?.binds === true;
}

/** For auditors. */
export function describeBlock({ id, subject, reason }: StoredBlock): string {
  return `block ${id} of ${subject.kind} ${subject.id}: ${reason}`;
}

const columns = `b.block_id, b.organization, b.subject_kind, b.subject_id, b.reason, b.added_by, b.added_at, b.until`;

interface BlockRow {
  block_id: string;
  organization: string;
  subject_kind: BlockSubject['kind'];
  subject_id: string;
  reason: string;
  added_by: string;
  added_at: Date;
  until: Date | null;
}

function blockOf(row: BlockRow): StoredBlock {
  return {
    id: row.block_id,
    organization: row.organization,
    subject: { kind: row.subject_kind, id: row.subject_id },
    reason: row.reason,
    addedBy: row.added_by,
    addedAt: row.added_at,
    until: row.until ?? undefined,
  };
}

/** One block of the organization, in force or not; undefined once it is removed. */
export async function readBlock(
  database: Database,
  organization: string,
  id: string,
): Promise<StoredBlock | undefined> {
  const [row] = await rowsOf<BlockRow>(database, {
    name: 'read-block',
    text: `SELECT ${columns} FROM policy.blocks b WHERE b.organization = $1 AND b.block_id = $2`,
    values: [organization, id],
  });
  return row === undefined ? undefined : blockOf(row);
}
