import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MayflyError } from '@mayfly/contracts';
import { openWorld, until, type World } from '../register-fixtures.ts';
import type { Register } from '../register.ts';
import { findLivingUpstreams, livingUpstreams } from '../store/attendance.ts';

describe('the attendance to upstreams at which leases live', () => {
  let world: World;
  let register: Register;
  let inspected: string[];
  beforeEach(async () => {
    world = await openWorld();
    register = world.replica();
    inspected = [];
    world.bus.onInspect = (leaseId) => {
      inspected.push(leaseId);
      return Promise.resolve();
    };
  });
  afterEach(() => world.close());

  const issue = (integration: string, { name = 'read', organization = 'acme', provider = 'postgres' } = {}) =>
    world.issue(register, {
      credential: `${integration}/${name}`,
      provider,
      integration: { name: integration, settings: {}, secret_references: [] },
      actor: { organization },
    });
  const find = (more: Partial<Parameters<typeof findLivingUpstreams>[1]> = {}) =>
    findLivingUpstreams(world.database.pool, { providers: ['postgres'], most: 100, end: 'first', ...more });
  const places = (found: Awaited<ReturnType<typeof find>>) =>
    found.leases.map(({ organization, integration }) => `${organization}/${integration}`);

  it('has one lease of each inspected, and none where minting keeps nothing', async () => {
    // Names of which one begins with another, on both sides of the slash in the order of the index.
    const all = ['db', 'db-2', 'db0', 'd'];
    for (const integration of all) for (const name of ['read', 'a', 'z']) await issue(integration, { name });
    await issue('db', { organization: 'globex' });
    await issue('reports-api', { provider: 'jwt' });
    expect(await register.attendance.attend()).toBe(true);
    expect(inspected).toHaveLength(5);
    const rows = await Promise.all(inspected.map((leaseId) => world.row(leaseId)));
    expect(
      rows.map((row) => `${String(row?.['organization'])}/${String(row?.['integration'])}`).sort(),
    ).toEqual(['acme/d', 'acme/db', 'acme/db-2', 'acme/db0', 'globex/db']);
  });

  it('has the newest and the oldest lease inspected in turn, which may live at different servers', async () => {
    const leases = [await issue('db'), await issue('db'), await issue('db')];
    for (let pass = 0; pass < 3; pass++) await register.attendance.attend();
    expect(inspected).toEqual([leases[0], leases[2], leases[0]]);
  });

  it('passes over leases that have ended', async () => {
    const leaseId = await issue('db');
    register.start();
    await register.revocations.revoke(
      await world.assert(
        { action: 'revoke', subject: { kind: 'lease', id: leaseId }, reason: 'x' },
        { administrator: true },
      ),
    );
    await until(async () => (await world.row(leaseId))?.['state'] === 'revoked');
    inspected = [];
    expect(await register.attendance.attend()).toBe(true);
    expect(inspected).toEqual([]);
  });

  it('goes on where it was when there are more upstreams than one pass takes', async () => {
    for (const integration of ['a', 'b', 'c', 'd', 'e']) await issue(integration);
    await issue('c2', { provider: 'jwt' });
    const passes: string[][] = [];
    let after: Awaited<ReturnType<typeof find>>['next'];
    do {
      const found = await find({ most: 2, after });
      passes.push(places(found));
      after = found.next;
    } while (after !== undefined);
    expect(passes).toEqual([['acme/a', 'acme/b'], ['acme/c'], ['acme/d', 'acme/e'], []]);
  });

  it('begins a second after the start, and comes again a second later while minting is away', async () => {
    await issue('db');
    let calls = 0;
    world.bus.onInspect = () => {
      calls++;
      return calls === 1
        ? Promise.reject(new MayflyError('dependency_unavailable', 'minting is away'))
        : Promise.resolve();
    };
    const started = performance.now();
    register.start();
    await until(() => calls === 2);
    expect(performance.now() - started).toBeGreaterThan(1_900);
    expect(performance.now() - started).toBeLessThan(6_000);
  });

  it('asks about a few at a time, and nothing that fails is held against an upstream', async () => {
    for (let index = 0; index < 20; index++) await issue(`db-${index}`);
    let running = 0;
    let most = 0;
    world.bus.onInspect = async (leaseId) => {
      inspected.push(leaseId);
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      throw new MayflyError('provider_unavailable', 'down');
    };
    for (let pass = 0; pass < 6; pass++) expect(await register.attendance.attend()).toBe(true);
    expect(inspected).toHaveLength(120);
    expect(most).toBe(8);
    expect(register.upstreams.open).toBe(0);
  });

  it.each(['first', 'last'] as const)(
    'costs no more where a great many leases live (the %s of each)',
    async (end) => {
      const leaseId = await issue('db');
      await world.database.pool.query(
        `INSERT INTO revocation.leases SELECT (jsonb_populate_record(l, jsonb_build_object('lease_id', gen_random_uuid(),
           'integration', 'db' || n % 3, 'credential', 'db' || n % 3 || '/read'))).*
         FROM revocation.leases l, generate_series(1, 4000) n WHERE l.lease_id = $1`,
        [leaseId],
      );
      await world.database.pool.query('VACUUM ANALYZE revocation.leases');
      const { rows } = await world.database.pool.query<{ 'QUERY PLAN': [{ Plan: Record<string, number> }] }>(
        `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${livingUpstreams(end)
          .replaceAll('$1', `''`)
          .replaceAll('$2', `''`)
          .replaceAll('$3', '100')}`,
      );
      const plan = rows[0]?.['QUERY PLAN'][0].Plan;
      expect(plan?.['Actual Rows']).toBe(4);
      expect(Number(plan?.['Shared Hit Blocks']) + Number(plan?.['Shared Read Blocks'])).toBeLessThan(100);
    },
  );
});
