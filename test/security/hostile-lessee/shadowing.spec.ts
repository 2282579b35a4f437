/**
 * Nothing that a lease, or anybody else, puts on the admin's search path runs as the admin. Which names are shadowed comes from the SQL
 * that the provider sends, so SQL that is written tomorrow is covered too.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { runAllVerbs } from './all-verbs.ts';
import { connectionTo, runOnce } from './rows.ts';
import { logStatements, partsOf, sentStatements } from './sent-statements.ts';
import { runningServers } from './servers.ts';
import { hitsIn, makeShadows, shadowSchema, type Shadowed } from './shadows.ts';
import { adminKinds, Upstream } from './upstream.ts';

const timeoutMs = 120_000;
const path = `${shadowSchema}, pg_catalog, public`;

for (const server of runningServers()) {
  for (const adminKind of adminKinds) {
    describe(`shadowed names, PostgreSQL ${server.major}, the admin is a ${adminKind}`, () => {
      let upstream: Upstream;
      let other: string;
      const shadowed: Shadowed[] = [];
      const databases = () =>
        [upstream.database, other].map((name) => connectionTo(server.superuserUrl, name));
      const hits = async () => (await Promise.all(databases().map(hitsIn))).flat();

      beforeAll(async () => {
        upstream = await Upstream.make(server, adminKind);
        other = `${upstream.database}_other`;
        await runOnce(connectionTo(server.superuserUrl), `CREATE DATABASE ${other}`);
        await logStatements(upstream);
        // Without shadows first, to learn what is sent.
        const broker = upstream.anotherBroker();
        await runAllVerbs(upstream, broker, other);
        await broker.close();
        const parts = partsOf(await sentStatements(upstream));
        for (const database of databases()) shadowed.push(await makeShadows(database, parts));
        await upstream.asSuperuser(
          `ALTER ROLE ${upstream.admin} SET search_path = ${path};
           ALTER ROLE ${upstream.admin} IN DATABASE ${upstream.database} SET search_path = ${path};
           ALTER DATABASE ${upstream.database} SET search_path = ${path}`,
        );
      }, timeoutMs);

      afterAll(async () => {
        await upstream.close();
        await runOnce(connectionTo(server.superuserUrl), `DROP DATABASE ${other} WITH (FORCE)`);
      });

      it('finds what is sent, and shadows it', async () => {
        for (const { names, missed } of shadowed) {
          expect([...names]).toEqual(
            expect.arrayContaining([
              'function current_setting',
              'operator =',
              'relation pg_roles',
              'type text',
            ]),
          );
          expect(missed).toEqual([]);
        }
      });

      it(
        'runs none of them, whatever the role, the database and the URL say of the path',
        async () => {
          const failures: string[] = [];
          for (const url of [upstream.adminUrl, withPath(upstream.adminUrl)]) {
            const broker = upstream.anotherBroker(url);
            failures.push(...(await runAllVerbs(upstream, broker, other)));
            await broker.close();
          }
          expect({ hits: await hits(), failures }).toEqual({ hits: [], failures: [] });
        },
        timeoutMs,
      );

      it('has sent nothing meanwhile that was not shadowed', async () => {
        const parts = partsOf(await sentStatements(upstream));
        const [first] = databases();
        if (first === undefined) throw new Error('no database');
        await runOnce(first, `ALTER SCHEMA ${shadowSchema} RENAME TO ${shadowSchema}_before`);
        const now = await makeShadows(first, parts);
        await runOnce(
          first,
          `DROP SCHEMA ${shadowSchema} CASCADE; ALTER SCHEMA ${shadowSchema}_before RENAME TO ${shadowSchema}`,
        );
        const before = shadowed[0]?.names ?? new Set();
        expect([...now.names].filter((name) => !before.has(name))).toEqual([]);
      });

      // Last: it walks into them.
      it('would have noticed', async () => {
        for (const url of [upstream.adminUrl, withPath(upstream.adminUrl)]) {
          for (const text of [
            'SELECT now()',
            'SELECT 1 = 1',
            'SELECT * FROM pg_roles',
            `SELECT 'a'::text`,
            'SELECT 1 IN (2)',
          ]) {
            const client = new pg.Client({ connectionString: url });
            await client.connect();
            await expect(client.query(text)).rejects.toThrow(/^the shadow of .* ran$/);
            await client.end();
          }
        }
        expect(await hits()).toEqual(
          expect.arrayContaining(['function now', 'operator =', 'relation pg_roles', 'type text']),
        );
      });
    });
  }
}

/** As libpq's `options` in the URL. */
function withPath(url: string): string {
  const changed = new URL(url);
  changed.searchParams.set('options', `-c search_path=${path.replaceAll(' ', '')}`);
  return changed.href;
}
