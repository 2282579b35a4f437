/** Databases and passwords of any name, from the admin URL to what the holder of a lease connects with. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { parseConnectionUrl, PostgresSecret, Secret } from '@mayfly/domain';
import pg from 'pg';
import type { Minted } from '../provider.ts';
import { groupRoleName, loginRoleName } from './role-names.ts';
import { query, servers, succeeds, Upstream } from './upstream.fixture.ts';

const hasPsql = spawnSync('psql', ['--version']).status === 0;

describe.each(servers)('with names that have to be percent-encoded, at $name', ({ url }) => {
  const names = [': / # @ + %', 'a?b&c=d', `quotes ' "`, 'caf\u00e9 \u{1f980}'].map(
    (name) => `${name} ${randomBytes(4).toString('hex')}`,
  );
  const scope = { privileges: ['SELECT' as const], schemas: ['public'] };
  let upstream: Upstream;

  beforeEach(async () => {
    upstream = await Upstream.make(url, 'superuser');
    for (const name of names)
      await upstream.asSuperuser(`CREATE DATABASE ${pg.escapeIdentifier(name)}`, 'postgres');
  });
  afterEach(async () => {
    for (const name of names)
      await upstream.asSuperuser(`DROP DATABASE ${pg.escapeIdentifier(name)} WITH (FORCE)`, 'postgres');
    for (const database of names) {
      const place = { organization: 'acme', integration: 'shop-db', database };
      await upstream.asSuperuser(`DROP ROLE IF EXISTS ${groupRoleName(place, scope, scope)}`);
    }
    await upstream.close();
  });

  const adminUrlOf = (database: string) => {
    const { username, password, host } = new URL(upstream.adminUrl);
    return `postgres://${username}:${password}@${host}/${encodeURIComponent(database)}`;
  };
  const contextOf = (leaseId: string, database: string) => ({
    ...upstream.context(leaseId),
    secrets: () => Promise.resolve(new Secret(adminUrlOf(database))),
  });
  const mintIn = async (leaseId: string, database: string): Promise<Minted> => {
    return upstream.provider.mint({
      ...contextOf(leaseId, database),
      agentId: 'spiffe://acme.example/agent/ci/build/1',
      bounds: scope,
      scope,
      ttlSeconds: 120,
      grantedAt: new Date(),
    });
  };

  it('mints in each of these databases, and the holder gets in', async () => {
    for (const name of names) {
      const leaseId = crypto.randomUUID();
      const minted = await mintIn(leaseId, name);
      const secret = PostgresSecret.parse(JSON.parse(minted.secret.reveal()));
      expect(secret.database).toBe(name);
      expect(parseConnectionUrl(secret.url)).toMatchObject({ connection: { database: name } });
      const { host, port, database, username: user, password } = secret;
      const client = new pg.Client({ host, port, database, user, password });
      await client.connect();
      const { rows } = await client.query('SELECT current_database() AS name');
      await client.end();
      expect(rows).toEqual([{ name }]);
      const context = contextOf(leaseId, name);
      expect(await upstream.provider.revoke({ ...context, handle: minted.handle })).toBe('revoked');
    }
  });

  (hasPsql ? it : it.skip)('gives a URL that psql reads (skipped where there is no psql)', async () => {
    for (const name of names) {
      const leaseId = crypto.randomUUID();
      const minted = await mintIn(leaseId, name);
      const secret = PostgresSecret.parse(JSON.parse(minted.secret.reveal()));
      const { stdout } = spawnSync('psql', [secret.url, '-XAtc', 'SELECT current_database()'], {
        encoding: 'utf8',
      });
      expect(stdout).toBe(`${name}\n`);
      await upstream.provider.revoke({ ...contextOf(leaseId, name), handle: minted.handle });
    }
  });

  it('finds what a lease owns in all of them when it ends', async () => {
    const leaseId = crypto.randomUUID();
    const minted = await upstream.mint(leaseId);
    const role = loginRoleName(leaseId);
    for (const database of names) {
      const { host, port, user, password } = new pg.Client({ connectionString: url });
      const superuser = new pg.Client({ host, port, user, password, database });
      await superuser.connect();
      await superuser.query(`CREATE SCHEMA own AUTHORIZATION ${role}`);
      await superuser.end();
    }
    expect(await upstream.revoke(leaseId, minted)).toBe('access_ended');
    await upstream.cleanUp(leaseId, minted);
    expect(await upstream.roles(`^${role}$`)).toEqual([]);
  });

  it('logs in with a password of any letters', async () => {
    const password = `:/#?@[]+%& '"=\u00e9\u{1f980}`;
    await upstream.asSuperuser(`ALTER ROLE ${upstream.admin} PASSWORD ${pg.escapeLiteral(password)}`);
    const before = upstream.adminUrl;
    const { username, host, pathname } = new URL(before);
    upstream.adminUrl = `postgres://${username}:${encodeURIComponent(password)}@${host}${pathname}`;
    const leaseId = crypto.randomUUID();
    const minted = await upstream.mint(leaseId);
    expect(await upstream.revoke(leaseId, minted)).toBe('revoked');
    expect(await succeeds(query(before, 'SELECT 1'))).toBe(false);
  });
});
