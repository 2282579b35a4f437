/** Finds the upstreams at which leases live, by one lease of each. */
import type { Pool } from 'pg';
import { leaseColumns, toLease, type Lease } from './lease.ts';

/** Where a look at the upstreams goes on: after this one, in the order of the index. */
export interface AfterUpstream {
  readonly organization: string;
  readonly integration: string;
}

export interface LivingUpstreams {
  /** One lease of each upstream, of the providers that were asked for. */
  readonly leases: Lease[];
  /** Absent when there are no more upstreams. */
  readonly next?: AfterUpstream;
}

/**
 * The next `most` upstreams at which leases live. It jumps from each to the next in the index `leases_live_credential`, so that it
 * costs a few pages for each upstream, however many leases live there. Of each it takes the lease at one end of the index or at the
 * other: after a change of the integration its older leases may live at another server than its newer ones.
 */
export async function findLivingUpstreams(
  pool: Pool,
  {
    providers,
    after = { organization: '', integration: '' },
    most,
    end,
  }: {
    readonly providers: readonly string[];
    readonly after?: AfterUpstream | undefined;
    readonly most: number;
    readonly end: 'first' | 'last';
  },
): Promise<LivingUpstreams> {
  const { rows } = await pool.query<Record<string, unknown>>({
    name: `find_living_upstreams_${end}`,
    text: livingUpstreams(end),
    values: [after.organization, after.integration, most],
  });
  const last = rows.length < most ? undefined : rows.at(-1);
  const leases = rows.filter((row) => row['lease_id'] !== null).map(toLease);
  return {
    leases: leases.filter((lease) => providers.includes(lease.provider)),
    ...(last !== undefined && {
      next: {
        organization: String(last['upstream_organization']),
        integration: String(last['upstream_integration']),
      },
    }),
  };
}

/** `$1`, `$2`: the upstream to go on after; `$3`: how many. A credential is named <integration>/<name>, and 0 is what follows on the slash. */
export function livingUpstreams(end: 'first' | 'last'): string {
  const order = end === 'first' ? 'l.credential, l.lease_id' : 'l.credential DESC, l.lease_id DESC';
  return `
  WITH RECURSIVE upstreams (organization, integration, number) AS (
    SELECT $1::text, $2::text, 0
    UNION ALL
    SELECT following.organization, following.integration, u.number + 1
    FROM upstreams u CROSS JOIN LATERAL (
      SELECT l.organization, l.integration FROM revocation.leases l
      WHERE l.granted_at IS NOT NULL AND l.ended_at IS NULL
        AND (l.organization, l.credential) >= (u.organization, (u.integration || '0') COLLATE "C")
      ORDER BY l.organization, l.credential LIMIT 1) following
    WHERE u.number < $3
  )
  SELECT u.organization AS upstream_organization, u.integration AS upstream_integration, ${leaseColumns('one')}
  FROM upstreams u LEFT JOIN LATERAL (
    SELECT l.* FROM revocation.leases l
    WHERE l.granted_at IS NOT NULL AND l.ended_at IS NULL AND l.organization = u.organization
      AND l.credential >= (u.integration || '/') COLLATE "C" AND l.credential < (u.integration || '0') COLLATE "C"
    ORDER BY ${order} LIMIT 1) one ON true
  WHERE u.number > 0
  ORDER BY u.number`;
}
