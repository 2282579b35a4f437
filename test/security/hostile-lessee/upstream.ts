/** A customer's database with an admin of it for Mayfly, and a broker that mints there. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import type { PostgresScope } from '@mayfly/domain';
import { Broker, type BrokerOptions } from './provider-under-test.ts';
import { odd } from './odd-names.ts';
import { connectionTo, lastRows, runOnce, type Row } from './rows.ts';
import type { Server } from './servers.ts';

export type AdminKind = 'superuser' | 'createrole';
export const adminKinds = ['superuser', 'createrole'] as const;

/** The schema where some credentials may create; the customer's tables are in `shop`. */
export const workshop = 'workshop';

/** Of the credential that honest lessees hold, and hostile ones where nothing else is said. */
const bounds: PostgresScope = {
  privileges: ['SELECT', 'INSERT', 'UPDATE'],
  schemas: ['shop', odd('schema')],
};

/** Narrower than the bounds, so that it takes a group of its own. */
export const narrower: PostgresScope = { privileges: ['SELECT'], schemas: ['shop'] };

const oddSchema = pg.escapeIdentifier(odd('schema'));

export class Upstream {
  readonly broker: Broker;

  private constructor(
    readonly server: Server,
    readonly adminKind: AdminKind,
    readonly database: string,
    /** Name of the privileged role. */
    readonly admin: string,
    readonly adminUrl: string,
    private readonly superuser: pg.Client,
  ) {
    this.broker = new Broker(adminUrl, bounds);
  }

  static async make(server: Server, adminKind: AdminKind): Promise<Upstream> {
    const database = `hostile_${randomBytes(6).toString('hex')}`;
    const admin = `admin_${randomBytes(6).toString('hex')}`;
    await runOnce(
      connectionTo(server.superuserUrl),
      // An attacker who is in template1 keeps it from being copied.
      `CREATE DATABASE ${database} TEMPLATE template0`,
      `CREATE ROLE ${admin} LOGIN ${adminKind === 'superuser' ? 'SUPERUSER' : 'CREATEROLE'} PASSWORD 'admin-pw'`,
      `GRANT CREATE ON DATABASE ${database} TO ${admin}`,
    );
    const adminUrl = new URL(server.superuserUrl);
    Object.assign(adminUrl, { username: admin, password: 'admin-pw', pathname: `/${database}` });
    await runOnce(
      connectionTo(adminUrl.href),
      `CREATE SCHEMA shop; CREATE TABLE shop.orders (id serial PRIMARY KEY, note text);
       INSERT INTO shop.orders (note) VALUES ('a'); CREATE TABLE shop.ended (times int); INSERT INTO shop.ended VALUES (0);
       CREATE SCHEMA ${workshop};
       CREATE SCHEMA ${oddSchema}; CREATE TABLE ${oddSchema}.${pg.escapeIdentifier(odd('table'))} (id serial)`,
    );
    const superuser = new pg.Client(connectionTo(server.superuserUrl, database));
    superuser.on('error', () => undefined);
    await superuser.connect();
    return new Upstream(server, adminKind, database, admin, adminUrl.href, superuser);
  }

  /** A scope that nobody has had before: of a table of its own, and of the others. */
  async unknownScope(): Promise<PostgresScope> {
    const table = `t_${randomBytes(6).toString('hex')}`;
    await runOnce(connectionTo(this.adminUrl), `CREATE TABLE shop.${table} (id int)`);
    return { ...narrower, tables: ['shop.orders', 'shop.ended', `shop.${table}`] };
  }

  /** Another replica of minting. */
  anotherBroker(options?: BrokerOptions, adminUrl = this.adminUrl): Broker {
    return new Broker(adminUrl, bounds, options);
  }

  /** What the customer's own superuser sees or does there; on a connection that is there before all others. */
  async asSuperuser(text: string, values: readonly unknown[] = []): Promise<readonly Row[]> {
    const result: unknown =
      values.length === 0 ? await this.superuser.query(text) : await this.superuser.query(text, [...values]);
    return lastRows(result);
  }

  /** Removes everything, also what an attack that succeeded has left. */
  async close(): Promise<void> {
    await this.broker.close();
    await this.superuser.end();
    await runOnce(
      connectionTo(this.server.superuserUrl),
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${this.database}'`,
    );
    await rollBackPrepared(this.server, this.database);
    await runOnce(
      connectionTo(this.server.superuserUrl),
      `DROP DATABASE ${this.database} WITH (FORCE)`,
    ).catch(() => undefined);
  }
}

async function rollBackPrepared({ superuserUrl }: Server, database: string): Promise<void> {
  const to = connectionTo(superuserUrl, database);
  const left = await runOnce(to, `SELECT gid FROM pg_prepared_xacts WHERE database = '${database}'`);
  for (const { gid } of left)
    await runOnce(to, `ROLLBACK PREPARED ${pg.escapeLiteral(String(gid))}`).catch(() => undefined);
}
