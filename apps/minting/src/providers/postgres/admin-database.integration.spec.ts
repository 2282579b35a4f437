import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { deadlineIn } from '../deadline.ts';
import { ProviderBusy } from '../provider-error.ts';
import { AdminDatabase } from './admin-database.ts';
import { deadlineMs, limits, servers, Upstream } from './upstream.fixture.ts';

describe.each(servers)('the one connection of an AdminDatabase, at $name', ({ url }) => {
  let upstream: Upstream;
  let database: AdminDatabase;
  let holder: pg.Client;

  beforeEach(async () => {
    upstream = await Upstream.make(url, 'createrole');
    database = new AdminDatabase(upstream.adminUrl, { ...limits, maxConnections: 1 });
    holder = new pg.Client(upstream.adminUrl);
    await holder.connect();
    await holder.query('SELECT pg_advisory_lock(1)');
  });
  afterEach(async () => {
    await holder.end();
    await database.close();
    await upstream.close();
  });

  /** Has the connection from its start until `release`. */
  const occupy = () => database.run('SELECT pg_advisory_xact_lock(1)', deadlineIn(deadlineMs));
  const release = () => holder.query('SELECT pg_advisory_unlock(1)');

  it('goes to what ends something before all that waited already to begin something', async () => {
    const order: string[] = [];
    const ask = (name: string, isVital: boolean) =>
      database.run('SELECT 1', deadlineIn(deadlineMs, { isVital })).then(() => order.push(name));
    const asked = [
      occupy(),
      ask('mint 1', false),
      ask('mint 2', false),
      ask('end 1', true),
      ask('mint 3', false),
      ask('end 2', true),
    ];
    await release();
    await Promise.all(asked);
    expect(order).toEqual(['end 1', 'end 2', 'mint 1', 'mint 2', 'mint 3']);
  });

  it('is not waited for longer than it may be, and nothing has happened then', async () => {
    await database.close();
    database = new AdminDatabase(upstream.adminUrl, { ...limits, maxConnections: 1, connectTimeoutMs: 500 });
    const occupied = occupy();
    const refused = await database.run('SELECT 1', deadlineIn(deadlineMs)).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(ProviderBusy);
    expect(refused).toMatchObject({ effect: 'none' });
    await release();
    await occupied;
    expect(await database.run('SELECT 1 AS one', deadlineIn(deadlineMs))).toEqual([[{ one: 1 }]]);
  });
});
