/**
 * How many connections a server has, and how many of them leases may take: asked when a lease is inspected, at most every 15 seconds
 * for each database, in one query on the catalogs.
 */
import pg from 'pg';
import type { Deadline } from '../deadline.ts';
import type { AdminDatabase } from './admin-database.ts';
import type { IntegrationAt } from './admin-databases.ts';
import type { Capacity, ConnectionObserver } from './connection-observer.ts';
import { loginRolePattern } from './role-names.ts';

/** Between two questions, in milliseconds. */
const askEveryMs = 15_000;
/** How long an answer is told. Longer than between two, because other replicas of minting are asked in turn. Milliseconds. */
const tellForMs = 300_000;

/**
 * A role without a limit, which custom statements may make, counts as all there is. Reserved connections are PostgreSQL 16's; a member
 * of the predefined role who does not inherit from it has no use of them (`InitPostgres`).
 */
const question = `
  WITH server AS (
    SELECT pg_catalog.current_setting('max_connections')::int
             - pg_catalog.current_setting('superuser_reserved_connections')::int AS not_superusers,
           coalesce(pg_catalog.current_setting('reserved_connections', true)::int, 0) AS reserved
  )
  SELECT s.not_superusers - s.reserved AS available, s.reserved,
         (SELECT coalesce(pg_catalog.sum(
                   CASE WHEN r.rolconnlimit < 0 THEN s.not_superusers - s.reserved ELSE r.rolconnlimit END), 0)::float8
            FROM pg_catalog.pg_roles r
           WHERE r.rolcanlogin AND r.rolname ~ '${loginRolePattern}'
             AND coalesce(r.rolvaliduntil, 'infinity') > pg_catalog.now()) AS leases,
         EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = current_user AND r.rolsuper)
           OR coalesce((SELECT pg_catalog.pg_has_role(r.oid, 'USAGE') FROM pg_catalog.pg_roles r
                         WHERE r.rolname = 'pg_use_reserved_connections'), false) AS may_use_reserved,
         current_user::text AS role
    FROM server s`;

interface Asked {
  readonly at: number;
  answer?: { readonly capacity: Capacity; readonly at: number };
}

export class Capacities {
  readonly #asked = new WeakMap<AdminDatabase, Asked>();
  /** Servers and roles that the observer has been told of. */
  readonly #told = new Set<string>();

  constructor(private readonly observer: Pick<ConnectionObserver, 'reservedUnused'> | undefined) {}

  /** Asks, unless that was done a moment ago. What fails is left out: nothing depends on it. */
  async ask(database: AdminDatabase, at: IntegrationAt, deadline: Deadline): Promise<void> {
    const before = this.#asked.get(database);
    if (before !== undefined && performance.now() - before.at < askEveryMs) return;
    const asked: Asked = { ...before, at: performance.now() };
    this.#asked.set(database, asked);
    const [rows] = await database.run(question, deadline).catch(() => []);
    const row = rows?.[0];
    if (row === undefined) return;
    const capacity = { leases: Number(row['leases']), available: Number(row['available']) };
    asked.answer = { capacity, at: performance.now() };
    if (Number(row['reserved']) > 0 && row['may_use_reserved'] !== true) {
      this.#tell(database, at, Number(row['reserved']), String(row['role']));
    }
  }

  /** The last answer; undefined when there is none that is recent. */
  of(database: AdminDatabase): Capacity | undefined {
    const answer = this.#asked.get(database)?.answer;
    return answer !== undefined && performance.now() - answer.at < tellForMs ? answer.capacity : undefined;
  }

  #tell(database: AdminDatabase, at: IntegrationAt, reserved: number, role: string): void {
    const key = JSON.stringify([database.connection.hosts, role]);
    if (this.#told.has(key)) return;
    this.#told.add(key);
    const { organization, integration } = at;
    const grant = `GRANT pg_use_reserved_connections TO ${pg.escapeIdentifier(role)} WITH INHERIT TRUE`;
    this.observer?.reservedUnused({ organization, integration, reserved, grant });
  }
}
