/** Which organization each name means, and has meant, in Postgres. */
import { namedOrganizations } from '@mayfly/configuration';
import { organizationId } from '@mayfly/domain';
import type { PoolClient } from 'pg';
import { rowsOf, type Database } from './statement.ts';

/** As documents tell them. */
export interface NamedOrganization {
  readonly name: string;
  readonly trustDomain: string;
}

/** Name → id. */
export type OrganizationIds = ReadonlyMap<string, string>;

/**
 * The ids that these organizations have in a next version. One that is there stays what it is; a name that comes back, or that
 * has got another trust domain, is another organization.
 */
export async function idsInNextVersion(
  database: Database,
  organizations: readonly NamedOrganization[],
): Promise<OrganizationIds> {
  const known = await rowsOf<{ name: string; generation: number; trust_domain: string; is_there: boolean }>(
    database,
    {
      name: 'known-organizations',
      text: `SELECT DISTINCT ON (name) name, generation, trust_domain, until_version IS NULL AS is_there
             FROM policy.organizations WHERE name = ANY ($1) ORDER BY name, generation DESC`,
      values: [organizations.map(({ name }) => name)],
    },
  );
  const byName = new Map(known.map((row) => [row.name, row]));
  return new Map(
    organizations.map(({ name, trustDomain }) => {
      const last = byName.get(name);
      const goesOn = last?.is_there === true && last.trust_domain === trustDomain;
      return [name, organizationId(name, goesOn ? last.generation : (last?.generation ?? 0) + 1)];
    }),
  );
}

/** Notes that a version has these organizations and no others. Part of the transaction that stores it; answers with their ids. */
export async function noteOrganizations(
  client: PoolClient,
  version: number,
  organizations: readonly NamedOrganization[],
): Promise<OrganizationIds> {
  const ids = await idsInNextVersion(client, organizations);
  const rows = organizations.map(({ name, trustDomain }) => ({
    id: ids.get(name),
    name,
    trust_domain: trustDomain,
  }));
  await rowsOf(client, {
    text: `UPDATE policy.organizations SET until_version = $1 WHERE until_version IS NULL AND id <> ALL ($2)`,
    values: [version, rows.map(({ id }) => id)],
  });
  await rowsOf(client, {
    text: `INSERT INTO policy.organizations (id, name, generation, trust_domain, from_version)
           SELECT r.id, r.name, coalesce(nullif(split_part(r.id, '.', 2), '')::integer, 1), r.trust_domain, $1
           FROM jsonb_to_recordset($2::jsonb) AS r (id text, name text, trust_domain text)
           ON CONFLICT (id) DO NOTHING`,
    values: [version, JSON.stringify(rows)],
  });
  await rowsOf(client, {
    text: 'UPDATE policy.config_versions SET organizations_noted = true WHERE version = $1',
    values: [version],
  });
  return ids;
}

/**
 * Makes up for versions that a release applied which noted no organizations. Part of a transaction that has called
 * `lockConfigVersions`. A document that can't be read leaves everything as it was.
 */
export async function noteEarlierVersions(client: PoolClient): Promise<void> {
  for (;;) {
    const [next] = await rowsOf<{ version: number; document: string }>(client, {
      text: `SELECT version, document FROM policy.config_versions WHERE NOT organizations_noted ORDER BY version LIMIT 1`,
    });
    if (next === undefined) return;
    const named = namedOrganizations(next.document);
    if (named !== undefined) await noteOrganizations(client, next.version, named);
    else {
      await rowsOf(client, {
        text: 'UPDATE policy.config_versions SET organizations_noted = true WHERE version = $1',
        values: [next.version],
      });
    }
  }
}

/** SQL for the ids of the organizations of the version in a row `v` of `policy.config_versions`. */
export const organizationIdsOfVersion = `coalesce((SELECT jsonb_object_agg(o.name, o.id) FROM policy.organizations o
  WHERE o.from_version <= v.version AND (o.until_version IS NULL OR o.until_version > v.version)), '{}')`;
