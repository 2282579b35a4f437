/**
 * A real PostgreSQL for the specs: MAYFLY_TEST_POSTGRES_URL (a superuser's) and, where it is set,
 * MAYFLY_TEST_POSTGRES_OLDER_URL.
 */
import {
  Secret,
  type PostgresCredentialSettings,
  type PostgresIntegrationSettings,
  type PostgresScope,
} from '@mayfly/domain';
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { deadlineIn } from '../deadline.ts';
import type { Minted } from '../provider.ts';
import { AdminDatabase, type ServerFacts } from './admin-database.ts';
import { PostgresProvider } from './postgres-provider.ts';

export const limits = {
  maxConnections: 4,
  statementTimeoutMs: 5_000,
  connectTimeoutMs: 4_000,
  groupFreshMs: 60_000,
};
export const deadlineMs = 20_000;

/** Those to try. */
export const servers = Object.entries({
  'the newest PostgreSQL': process.env['MAYFLY_TEST_POSTGRES_URL'],
  'an older PostgreSQL': process.env['MAYFLY_TEST_POSTGRES_OLDER_URL'],
}).flatMap(([name, url]) => (url === undefined ? [] : [{ name, url }]));

/** A database with rows, an admin of it, and a provider. */
export class Upstream {
  readonly provider = new PostgresProvider(limits);
  readonly database = `mayfly_it_${randomBytes(6).toString('hex')}`;
  readonly admin = `it_admin_${randomBytes(6).toString('hex')}`;
  readonly bounds: PostgresScope = { privileges: ['SELECT', 'INSERT'], schemas: ['shop', 'odd "name\'; --'] };
  readonly narrower: PostgresScope = { privileges: ['SELECT'], schemas: ['shop'] };
  adminUrl = '';
  /** Of the integration, beside `admin`. */
  settings: Partial<PostgresIntegrationSettings> = {};
  /** What other references than `admin` lead to. */
  readonly references = new Map<string, string>();

  private constructor(private readonly superuserUrl: string) {}

  static async make(superuserUrl: string, admin: 'superuser' | 'createrole'): Promise<Upstream> {
    const upstream = new Upstream(superuserUrl);
    const { database, admin: adminName } = upstream;
    await upstream.asSuperuser(`CREATE DATABASE ${database}`, 'postgres');
    await upstream.asSuperuser(
      `CREATE ROLE ${adminName} LOGIN ${admin === 'superuser' ? 'SUPERUSER' : 'CREATEROLE'} PASSWORD 'admin-pw';
       GRANT CREATE ON DATABASE ${database} TO ${adminName}`,
    );
    const url = new URL(superuserUrl);
    Object.assign(url, { username: adminName, password: 'admin-pw', pathname: `/${database}` });
    upstream.adminUrl = url.href;
    await query(
      upstream.adminUrl,
      `CREATE SCHEMA shop; CREATE TABLE shop.orders (id serial, note text); INSERT INTO shop.orders (note) VALUES ('a');
       CREATE VIEW shop.notes AS SELECT note FROM shop.orders; CREATE TABLE shop.other (id int);
       CREATE SCHEMA "odd ""name'; --"; CREATE TABLE "odd ""name'; --"."t""'; DROP ROLE x; --" (id int)`,
    );
    return upstream;
  }

  asSuperuser(text: string, database = this.database): Promise<Record<string, unknown>[]> {
    const url = new URL(this.superuserUrl);
    url.pathname = `/${database}`;
    return query(url.href, text);
  }

  /** What the provider knows of the server and the privileged role. */
  async facts(): Promise<ServerFacts> {
    const database = new AdminDatabase(this.adminUrl, limits);
    try {
      return await database.facts(deadlineIn(deadlineMs));
    } finally {
      await database.close();
    }
  }

  context(leaseId: string) {
    return {
      leaseId,
      organization: 'acme',
      integration: 'shop-db',
      integrationSettings: { admin: 'env:ADMIN', ...this.settings },
      credentialSettings: {} as PostgresCredentialSettings,
      secrets: (reference: string) =>
        Promise.resolve(new Secret(this.references.get(reference) ?? this.adminUrl)),
      deadline: deadlineIn(deadlineMs),
    };
  }

  mint(
    leaseId: string,
    scope: PostgresScope = this.bounds,
    credentialSettings: PostgresCredentialSettings = {},
  ): Promise<Minted> {
    return this.provider.mint({
      ...this.context(leaseId),
      credentialSettings,
      agentId: 'spiffe://acme.example/agent/ci/build/1',
      bounds: this.bounds,
      scope,
      ttlSeconds: 120,
      grantedAt: new Date(),
    });
  }

  revoke(leaseId: string, { handle }: Pick<Minted, 'handle'>) {
    // As the runner calls it: an end goes first where it waits with what begins something.
    const deadline = deadlineIn(deadlineMs, { isVital: true });
    return this.provider.revoke({ ...this.context(leaseId), deadline, handle });
  }

  cleanUp(leaseId: string, { handle }: Pick<Minted, 'handle'>): Promise<void> {
    return this.provider.cleanUp({ ...this.context(leaseId), handle });
  }

  renew(
    leaseId: string,
    { handle }: Pick<Minted, 'handle'>,
    ttlSeconds: number,
    notAfterSeconds = ttlSeconds + 60,
  ) {
    const notAfter = new Date(Date.now() + notAfterSeconds * 1000);
    return this.provider.renew({ ...this.context(leaseId), handle, ttlSeconds, notAfter });
  }

  async roles(pattern: string): Promise<string[]> {
    const rows = await this.asSuperuser(
      `SELECT rolname FROM pg_roles WHERE rolname ~ ${pg.escapeLiteral(pattern)}`,
    );
    return rows.map((row) => String(row['rolname']));
  }

  async close(): Promise<void> {
    await this.provider.close();
    const names = await this.asSuperuser(
      `SELECT DISTINCT r.rolname FROM pg_roles r JOIN pg_shdepend s ON s.refobjid = r.oid AND s.refclassid = 'pg_authid'::regclass
         JOIN pg_database d ON d.datname = current_database() AND (s.dbid = d.oid OR s.objid = d.oid)
        WHERE r.rolname ~ '^mayfly_(scope|narrow|retired)_'`,
    );
    for (const { rolname } of names)
      await this.asSuperuser(`DROP OWNED BY ${String(rolname)}; DROP ROLE ${String(rolname)}`);
    await this.asSuperuser(`DROP DATABASE ${this.database} WITH (FORCE)`, 'postgres');
    await this.asSuperuser(`DROP OWNED BY ${this.admin}; DROP ROLE ${this.admin}`, 'postgres').catch(
      () => undefined,
    );
  }
}

/** Runs one text as whoever the URL names; the rows of its last statement. */
export async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const result: unknown = await client.query(text);
    return ([result].flat().at(-1) as pg.QueryResult<Record<string, unknown>>).rows;
  } finally {
    await client.end();
  }
}

/** The minted URL. */
export const urlOf = ({ secret }: Pick<Minted, 'secret'>) =>
  (JSON.parse(secret.reveal()) as { url: string }).url;
export const succeeds = (work: Promise<unknown>) =>
  work.then(
    () => true,
    () => false,
  );
