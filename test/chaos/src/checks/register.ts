/** What the lease register says, read beside the services, as superuser. */
import pg from 'pg';
import { isHostileAgent } from '../load/hostile/hostile-lessees.ts';
import { applicationNameOf } from '../load/hostile/hostile-session.ts';
import type { Party } from '../load/ledger.ts';

/** How one lease went. Times in milliseconds since the epoch, by Postgres' clock. */
export interface LeaseRow {
  readonly leaseId: string;
  readonly party: Party;
  readonly state: string;
  readonly cleanup: string | undefined;
  readonly intendedAt: number | undefined;
  /** When it became active; undefined when it never did. */
  readonly issuedAt: number | undefined;
  readonly expiresAt: number | undefined;
  readonly endedAt: number | undefined;
  /** Everything else that may explain it, for people. */
  readonly told: string;
}

/** A login role of a lease, and what the register says of that lease. */
export interface UpstreamRole {
  readonly role: string;
  /** Undefined: no lease of that name is known. */
  readonly state: string | undefined;
  readonly expiresAt: number | undefined;
  /** The lease has ended, and what it left is still to be removed; with whether the role may log in, which it then never may. */
  readonly cleanUp: { readonly party: Party; readonly mayLogIn: boolean } | undefined;
  /** It logs in for longer than the register has been told, which nothing ever may. */
  readonly outlivesRegister: boolean;
}

/** A lease with sessions, or prepared transactions, upstream. */
export interface UpstreamSessions {
  readonly leaseId: string;
  /** When it is over by the register: it has ended, or should have. Milliseconds since the epoch. */
  readonly overAt: number;
  /** What is there, for people. */
  readonly told: string;
}

export class Register {
  readonly #pool: pg.Pool;

  constructor(databaseUrl: string) {
    this.#pool = new pg.Pool({
      connectionString: databaseUrl,
      max: 4,
      connectionTimeoutMillis: 2_000,
      query_timeout: 20_000,
    });
    // Postgres is killed at times.
    this.#pool.on('error', () => undefined);
  }

  async query<Row extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<Row[]> {
    return (await this.#pool.query<Row>(text, values)).rows;
  }

  /** Leases that should have ended by `before` and have not. */
  async overdue(before: number): Promise<number> {
    const [row] = await this.query<{ count: number }>(
      `SELECT count(*)::int AS count FROM revocation.leases
       WHERE due_at IS NOT NULL AND granted_at IS NOT NULL AND ended_at IS NULL AND expires_at <= $1`,
      [new Date(before)],
    );
    return row?.count ?? 0;
  }

  async leases(): Promise<LeaseRow[]> {
    const rows = await this.query<Record<string, string | null>>(
      `SELECT lease_id, agent_id, state, cleanup,
              concat_ws(' ', provider, state, end_reason, attempts || ' attempts', 'issued', issued_at::time(1),
                        'expires', expires_at::time(1), 'ended', ended_at::time(1)) AS told, extract(epoch FROM intended_at) * 1000 AS intended, extract(epoch FROM issued_at) * 1000 AS issued,
              extract(epoch FROM expires_at) * 1000 AS expires, extract(epoch FROM ended_at) * 1000 AS ended
       FROM revocation.leases`,
    );
    return rows.map((row) => ({
      leaseId: row['lease_id'] ?? '',
      party: partyOf(row['agent_id']),
      state: row['state'] ?? '',
      cleanup: row['cleanup'] ?? undefined,
      intendedAt: milliseconds(row['intended']),
      issuedAt: milliseconds(row['issued']),
      expiresAt: milliseconds(row['expires']),
      endedAt: milliseconds(row['ended']),
      told: row['told'] ?? '',
    }));
  }

  async roles(): Promise<UpstreamRole[]> {
    const rows = await this.query<Record<string, string | null>>(
      // Events and handles tell milliseconds.
      `SELECT r.rolname, l.state, l.agent_id, extract(epoch FROM l.expires_at) * 1000 AS expires,
              CASE WHEN l.state = 'active' AND r.rolvaliduntil > l.native_expires_at + interval '1 millisecond' THEN 'yes' END AS outlives,
              CASE WHEN l.state IN ('expired', 'revoked') AND l.cleanup = 'pending' THEN r.rolcanlogin::text END AS ended_but_logs_in
       FROM pg_roles r LEFT JOIN revocation.leases l ON l.lease_id = substr(r.rolname, 8)::uuid
       WHERE r.rolname ~ '^mayfly_[0-9a-f]{32}$'`,
    );
    return rows.map((row) => ({
      role: row['rolname'] ?? '',
      state: row['state'] ?? undefined,
      expiresAt: milliseconds(row['expires']),
      cleanUp:
        typeof row['ended_but_logs_in'] === 'string'
          ? { party: partyOf(row['agent_id']), mayLogIn: row['ended_but_logs_in'] === 'true' }
          : undefined,
      outlivesRegister: row['outlives'] === 'yes',
    }));
  }

  /**
   * Sessions and prepared transactions of leases, of all databases. A hostile session is known by its application name too: the name
   * of its role is not told any more when that has been dropped.
   */
  async sessions(): Promise<UpstreamSessions[]> {
    const rows = await this.query<Record<string, string | null>>(
      `WITH held AS (
         SELECT coalesce(usename, 'role dropped') || ' ' || coalesce(state, '') AS what,
                coalesce(substring(application_name FROM '^${applicationNameOf('(.*)')}$'), substring(usename FROM '^mayfly_([0-9a-f]{32})$')) AS lease
           FROM pg_stat_activity
         UNION ALL
         SELECT 'prepared transaction', substring(owner FROM '^mayfly_([0-9a-f]{32})$') FROM pg_prepared_xacts
       )
       SELECT l.lease_id, extract(epoch FROM least(l.ended_at, l.expires_at)) * 1000 AS over, string_agg(DISTINCT h.what, ', ') AS told
         FROM held h JOIN revocation.leases l ON l.lease_id = h.lease::uuid
        WHERE least(l.ended_at, l.expires_at) IS NOT NULL
        GROUP BY 1, 2`,
    );
    return rows.map((row) => ({
      leaseId: row['lease_id'] ?? '',
      overAt: milliseconds(row['over']) ?? 0,
      told: row['told'] ?? '',
    }));
  }

  /** When the lease ends, or ended, by its time. */
  async expiryOf(leaseId: string): Promise<number | undefined> {
    const [row] = await this.query<{ expires: string | null }>(
      'SELECT extract(epoch FROM expires_at) * 1000 AS expires FROM revocation.leases WHERE lease_id = $1',
      [leaseId],
    );
    return milliseconds(row?.expires);
  }

  async close(): Promise<void> {
    await this.#pool.end();
  }
}

function partyOf(agentId: string | null | undefined): Party {
  return isHostileAgent(agentId ?? '') ? 'hostile' : 'honest';
}

function milliseconds(value: string | null | undefined): number | undefined {
  return value === null || value === undefined ? undefined : Number(value);
}
