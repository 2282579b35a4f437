/** Applied configuration documents in Postgres. */
import { createHash } from 'node:crypto';
import { inTransaction } from '@mayfly/postgres';
import type { Pool, PoolClient } from 'pg';
import {
  noteEarlierVersions,
  noteOrganizations,
  organizationIdsOfVersion,
  type NamedOrganization,
  type OrganizationIds,
} from './organizations.ts';
import { rowsOf, type Database } from './statement.ts';

export interface ConfigVersion {
  /** From 1. */
  readonly version: number;
  readonly document: string;
  readonly appliedAt: Date;
  /** SPIFFE ID, `bootstrap`, or `recovery`. */
  readonly appliedBy: string;
  /** What its organizations are known by outside of the document. */
  readonly organizationIds: OrganizationIds;
  /** Source address, file of the first start, or host and user of a recovery. Absent for versions of before it was kept. */
  readonly appliedFrom?: string;
}

/** 0 when none was ever applied. */
export async function newestVersionNumber(database: Database): Promise<number> {
  const [row] = await rowsOf<{ version: number }>(database, {
    name: 'newest-config-version-number',
    text: 'SELECT coalesce(max(version), 0) AS version FROM policy.config_versions',
  });
  return row?.version ?? 0;
}

/** Without a number, the newest. */
export async function findConfigVersion(
  database: Database,
  version?: number,
): Promise<ConfigVersion | undefined> {
  const [row] = await rowsOf<VersionRow>(database, {
    name: version === undefined ? 'newest-config-version' : 'config-version',
    text: `SELECT ${columns} FROM policy.config_versions v
           ${version === undefined ? 'ORDER BY version DESC LIMIT 1' : 'WHERE version = $1'}`,
    ...(version === undefined ? {} : { values: [version] }),
  });
  return row === undefined ? undefined : versionOf(row);
}

/**
 * Until the end of the transaction nobody else stores a version, and no decision reserves a lease (`policy.reserve_lease` takes
 * the same lock shared): what was reserved before is seen here, what is reserved later sees the version that is stored here. A
 * process that is paused in such a transaction holds everybody up, so Postgres ends it after a few seconds. Answers with the
 * newest version, 0 when there is none.
 */
export async function lockConfigVersions(client: PoolClient): Promise<number> {
  await rowsOf(client, { text: "SELECT set_config('idle_in_transaction_session_timeout', '3000', true)" });
  await rowsOf(client, {
    text: "SELECT pg_advisory_xact_lock(hashtextextended('mayfly config versions', 0))",
  });
  await noteEarlierVersions(client);
  return newestVersionNumber(client);
}

export type StoreOutcome =
  | { readonly outcome: 'stored' | 'unchanged'; readonly stored: ConfigVersion }
  | { readonly outcome: 'conflict'; readonly runningVersion: number };

/**
 * Makes a document the newest version, unless it is already or another version than the expected one is. Part of a
 * transaction that has called `lockConfigVersions`.
 */
export async function storeConfigVersion(
  client: PoolClient,
  wanted: {
    document: string;
    /** Those of the document. */
    organizations: readonly NamedOrganization[];
    appliedBy: string;
    appliedFrom?: string;
    expectedVersion?: number;
    /** The sessions that it no longer admits are not ended with it. */
    keepsSessions?: boolean;
  },
): Promise<StoreOutcome> {
  const [newest] = await rowsOf<VersionRow>(client, {
    text: `SELECT ${columns} FROM policy.config_versions v ORDER BY version DESC LIMIT 1`,
  });
  const runningVersion = newest?.version ?? 0;
  if (wanted.expectedVersion !== undefined && wanted.expectedVersion !== runningVersion) {
    return { outcome: 'conflict', runningVersion };
  }
  const sha256 = createHash('sha256').update(wanted.document, 'utf8').digest('hex');
  if (newest?.sha256 === sha256) return { outcome: 'unchanged', stored: versionOf(newest) };
  const [row] = await rowsOf<Omit<VersionRow, 'organization_ids'>>(client, {
    text: `INSERT INTO policy.config_versions (version, document, sha256, applied_at, applied_by, applied_from, sessions_kept)
           VALUES ($1, $2, $3, now(), $4, $5, $6)
           RETURNING version, document, sha256, applied_at, applied_by, applied_from`,
    values: [
      runningVersion + 1,
      wanted.document,
      sha256,
      wanted.appliedBy,
      wanted.appliedFrom ?? null,
      wanted.keepsSessions ?? false,
    ],
  });
  if (row === undefined) throw new Error('INSERT … RETURNING gave no row');
  const organizationIds = await noteOrganizations(client, row.version, wanted.organizations);
  return { outcome: 'stored', stored: { ...versionOf({ ...row, organization_ids: {} }), organizationIds } };
}

/** A version that an earlier release has applied meanwhile is noted now, so that its organizations are known. */
export async function noteUnnotedVersions(pool: Pool): Promise<void> {
  const [row] = await rowsOf<{ any: boolean }>(pool, {
    name: 'any-unnoted-version',
    text: 'SELECT EXISTS (SELECT FROM policy.config_versions WHERE NOT organizations_noted) AS any',
  });
  if (row?.any !== true) return;
  await inTransaction(pool, lockConfigVersions);
}

const columns = `version, document, sha256, applied_at, applied_by, applied_from, ${organizationIdsOfVersion} AS organization_ids`;

interface VersionRow {
  version: number;
  document: string;
  sha256: string;
  applied_at: Date;
  applied_by: string;
  applied_from: string | null;
  organization_ids: Record<string, string>;
}

function versionOf(row: VersionRow): ConfigVersion {
  return {
    version: row.version,
    document: row.document,
    appliedAt: row.applied_at,
    appliedBy: row.applied_by,
    ...(row.applied_from === null ? {} : { appliedFrom: row.applied_from }),
    organizationIds: new Map(Object.entries(row.organization_ids)),
  };
}
