import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { MayflyError } from '@mayfly/contracts';
import { newEvent } from '@mayfly/messaging';
import {
  activateInput,
  FakeBus,
  grantClaims,
  handle,
  openWorld,
  organization,
  traceparent,
  until,
  type World,
  type GrantChanges,
} from '../register-fixtures.ts';
import { completeEnds } from '../store/due.ts';
import type { Register } from '../register.ts';
import { upstreamOf, type Lease } from '../store/lease.ts';
import { registerSize } from '../store/reading.ts';
import { leaseEvent } from '../lease-event.ts';

const quick = {
  MAYFLY_DUE_POLL_MS: '100',
  MAYFLY_RETRY_FIRST_MS: '10',
  MAYFLY_RETRY_LONGEST_MS: '40',
  MAYFLY_BREAKER_FAILURES: '1000',
};

describe('due leases', () => {
  let world: World;
  beforeEach(async () => {
    world = await openWorld();
  });
  afterEach(() => world.close());

  const stateOf = async (leaseId: string) => (await world.row(leaseId))?.['state'];
  const inState = (leaseId: string, state: string) => until(async () => (await stateOf(leaseId)) === state);

  /** All that are active become due now, by moving their expiry. */
  const makeDue = () =>
    world.database.pool.query(
      `UPDATE revocation.leases SET expires_at = now(), due_at = now() WHERE state = 'active'`,
    );

  /** More like this one, straight into the table. */
  const multiply = (leaseId: string, count: number) =>
    world.database.pool.query(
      `INSERT INTO revocation.leases
       SELECT (jsonb_populate_record(l, jsonb_build_object('lease_id', gen_random_uuid()))).*
       FROM revocation.leases l, generate_series(1, $2) WHERE l.lease_id = $1`,
      [leaseId, count],
    );

  /** Of an upstream that nobody has to ask. */
  const issueToken = (register: Register, livesMs: number) =>
    world.issue(
      register,
      {
        provider: 'jwt',
        credential: 'tokens/x',
        integration: { name: 'tokens', settings: {}, secret_references: [] },
      },
      {
        revocability: { kind: 'expiry_only' },
        native_expires_at: new Date(Date.now() + livesMs).toISOString(),
      },
    );

  it('end within a second of their expiry, at the provider and then in the register', async () => {
    const register = world.replica({ MAYFLY_DUE_POLL_MS: '1000' });
    register.start();
    const leaseId = await world.issue(register, { ttl_seconds: 1 });
    await inState(leaseId, 'expired');
    const row = await world.row(leaseId);
    const late = (row?.['ended_at'] as Date).getTime() - (row?.['expires_at'] as Date).getTime();
    expect(late).toBeGreaterThanOrEqual(0);
    expect(late).toBeLessThan(1_000);
    expect(row).toMatchObject({ handle: null, due_at: null, end_cause: 'expired' });
    expect(world.bus.revoked).toEqual([leaseId]);
    expect(await world.eventsOf(leaseId)).toEqual(['credential.issued', 'credential.expired']);
  });

  it('are told as late while their end is tried in vain, until they are told as failing', async () => {
    const register = world.replica({
      ...quick,
      MAYFLY_RETRY_FIRST_MS: '60000',
      MAYFLY_RETRY_LONGEST_MS: '60000',
    });
    const leaseId = await world.issue(register);
    await world.database.pool.query(
      `UPDATE revocation.leases SET expires_at = now() - interval '20 seconds', due_at = now()`,
    );
    world.bus.onRevoke = () => {
      throw new MayflyError('provider_unavailable', 'away');
    };
    register.start();
    await until(async () => (await world.row(leaseId))?.['last_error'] === 'provider_unavailable');
    const { dueLagSeconds } = await registerSize(world.database.pool);
    expect(dueLagSeconds).toBeGreaterThan(19);

    await world.database.pool.query(`UPDATE revocation.leases SET state = 'revocation_failed'`);
    expect((await registerSize(world.database.pool)).dueLagSeconds).toBe(0);
  });

  it('end exactly once with several replicas, and the events tell each change once', async () => {
    const issuing = world.replica();
    const leaseIds = await Promise.all(
      Array.from({ length: 150 }, (_, index) =>
        world.issue(issuing, {
          credential: `db-${index % 3}/x`,
          integration: { name: `db-${index % 3}`, settings: {}, secret_references: [] },
        }),
      ),
    );
    await makeDue();
    const buses = [new FakeBus(), new FakeBus()];
    for (const replicaBus of buses) {
      replicaBus.onRevoke = () => new Promise((resolve) => setImmediate(() => resolve('revoked')));
      world.replica(quick, replicaBus).start();
    }
    await until(async () => {
      const { rows } = await world.database.pool.query<{ open: number }>(
        'SELECT count(*)::int AS open FROM revocation.leases WHERE ended_at IS NULL',
      );
      return rows[0]?.open === 0;
    });
    const revoked = buses.flatMap((replicaBus) => replicaBus.revoked);
    expect([...revoked].sort()).toEqual([...leaseIds].sort());
    const types = (await world.outbox()).map((event) => `${event.subject ?? ''} ${event.type}`);
    expect(new Set(types).size).toBe(300);
    expect(types).toHaveLength(300);
  });

  const others: [string, GrantChanges][] = [
    ['another', { credential: 'fast/x', integration: { name: 'fast', settings: {}, secret_references: [] } }],
    ["another organization's of the same name", { actor: { organization: 'globex' } }],
  ];
  it.each(others)(
    'keep within the bounds per integration, and a slow one does not hold up %s',
    async (_, changes) => {
      const register = world.replica({
        ...quick,
        MAYFLY_END_CONCURRENCY: '8',
        MAYFLY_END_CONCURRENCY_PER_INTEGRATION: '4',
      });
      for (let index = 0; index < 60; index++)
        await world.issue(register, { credential: 'orders-db/readonly' });
      await makeDue();
      let release: () => void = () => undefined;
      const blocked = new Promise<void>((resolve) => (release = resolve));
      world.bus.onRevoke = async (lease) => {
        if (lease.integration === 'orders-db' && lease.organization === organization) await blocked;
        return 'revoked';
      };
      register.start();
      await until(() => world.bus.running === 4);
      const other = await world.issue(register, { ...changes, ttl_seconds: 1 });
      await inState(other, 'expired');
      expect(world.bus.mostRunning).toBeLessThanOrEqual(5);
      release();
      await until(async () => {
        const { rowCount } = await world.database.pool.query(
          'SELECT FROM revocation.leases WHERE ended_at IS NULL',
        );
        return rowCount === 0;
      });
      expect(world.bus.revoked).toHaveLength(61);
    },
  );

  it('that a provider will not end are retried, told once as failing, and ended when it will', async () => {
    const register = world.replica(quick);
    let broken = true;
    world.bus.onRevoke = () =>
      broken ? Promise.reject(new MayflyError('provider_unavailable', 'away')) : Promise.resolve('revoked');
    const leaseId = await world.issue(register);
    await makeDue();
    register.start();
    await inState(leaseId, 'revocation_failed');
    expect(world.bus.revoked.length).toBeGreaterThanOrEqual(6);
    await until(() => world.bus.revoked.length >= 9);
    expect(await stateOf(leaseId)).toBe('revocation_failed');
    broken = false;
    await inState(leaseId, 'expired');
    expect(await world.eventsOf(leaseId)).toEqual([
      'credential.issued',
      'credential.revocation_failed',
      'credential.expired',
    ]);
    const failed = (await world.outbox()).find((event) => event.type.includes('revocation_failed'));
    expect(failed?.data.reason).toBe('provider_unavailable');
    expect((await world.row(leaseId))?.['last_error']).toBe('provider_unavailable');
  });

  it('of an upstream that was away are due at once when it is back, whatever they had to wait for', async () => {
    const register = world.replica({
      ...quick,
      MAYFLY_RETRY_FIRST_MS: '60000',
      MAYFLY_RETRY_LONGEST_MS: '60000',
      MAYFLY_BREAKER_FAILURES: '3',
      MAYFLY_BREAKER_OPEN_MS: '300',
    });
    let away = true;
    world.bus.onRevoke = () =>
      away ? Promise.reject(new MayflyError('provider_unavailable', 'away')) : Promise.resolve('revoked');
    const leaseIds: string[] = [];
    for (let index = 0; index < 40; index++) leaseIds.push(await world.issue(register));
    await makeDue();
    register.start();
    const failed = async () =>
      (await world.database.pool.query(`SELECT FROM revocation.leases WHERE last_error IS NOT NULL`))
        .rowCount;
    await until(async () => (await failed()) === 40);
    // Each was tried, whatever the breaker says, and now they wait for longer than this test lasts.
    expect(register.upstreams.open).toBe(1);
    away = false;
    const back = performance.now();
    for (const leaseId of leaseIds) await inState(leaseId, 'expired');
    expect(performance.now() - back).toBeLessThan(5_000);
    expect(register.upstreams.open).toBe(0);
  });

  it('are tried whatever the breaker says, each after waits of its own', async () => {
    const failures: string[] = [];
    const register = world.replica(
      {
        ...quick,
        MAYFLY_RETRY_FIRST_MS: '60000',
        MAYFLY_RETRY_LONGEST_MS: '60000',
        MAYFLY_LOUD_AFTER: '2',
        MAYFLY_BREAKER_FAILURES: '1',
        MAYFLY_BREAKER_OPEN_MS: '3600000',
        MAYFLY_END_CONCURRENCY_PER_INTEGRATION: '1',
      },
      world.bus,
      (provider) => failures.push(provider),
    );
    world.bus.onRevoke = () => Promise.reject(new MayflyError('provider_unavailable', 'away'));
    const leaseIds = [await world.issue(register), await world.issue(register)];
    await makeDue();
    register.start();
    const failed = async () =>
      (await world.database.pool.query(`SELECT FROM revocation.leases WHERE last_error IS NOT NULL`))
        .rowCount;
    await until(async () => (await failed()) === 2);
    expect(register.upstreams.open).toBe(1);
    const rows = await Promise.all(leaseIds.map((leaseId) => world.row(leaseId)));
    expect(rows.map((row) => row?.['attempts'])).toEqual([1, 1]);
    expect([...world.bus.revoked].sort()).toEqual([...leaseIds].sort());
    expect(failures).toEqual(['postgres', 'postgres']);
  });

  it('of mints that failed are tried whatever the breaker says: there may be a login', async () => {
    const register = world.replica({
      ...quick,
      MAYFLY_ORPHAN_AFTER_MS: '10',
      MAYFLY_BREAKER_FAILURES: '1',
      MAYFLY_BREAKER_OPEN_MS: '3600000',
    });
    world.bus.onRevoke = () => Promise.reject(new MayflyError('provider_unavailable', 'away'));
    world.bus.onReconcile = () => Promise.reject(new MayflyError('provider_unavailable', 'away'));
    const leaseId = await world.issue(register);
    await makeDue();
    register.start();
    await until(async () => (await world.row(leaseId))?.['last_error'] === 'provider_unavailable');
    const claims = grantClaims();
    await register.activations.abandon({
      grant: await world.sign(claims),
      issuance_traceparent: traceparent(),
      reason: 'provider_unavailable',
      cleanup: 'pending',
      mint_id: randomUUID(),
    });
    await until(async () => (await world.row(claims.jti))?.['last_error'] === 'provider_unavailable');
    expect(await world.row(claims.jti)).toMatchObject({ cleanup: 'pending' });
    expect(world.bus.reconciled).toContain(claims.jti);
  });

  it('that a slow upstream takes several calls for are one attempt, and no failure', async () => {
    const failures: string[] = [];
    const register = world.replica({ ...quick, MAYFLY_LOUD_AFTER: '2' }, world.bus, (provider) =>
      failures.push(provider),
    );
    const leaseId = await world.issue(register);
    const abandoned = grantClaims();
    world.bus.onRevoke = () => Promise.resolve(world.bus.revoked.length < 9 ? 'under_way' : 'revoked');
    await register.activations.abandon({
      grant: await world.sign(abandoned),
      issuance_traceparent: traceparent(),
      reason: 'provider_unavailable',
      cleanup: 'pending',
      handle,
      mint_id: randomUUID(),
    });
    await makeDue();
    register.start();
    await inState(leaseId, 'expired');
    await until(async () => (await world.row(abandoned.jti))?.['cleanup'] === 'done');
    expect(world.bus.revoked.length).toBeGreaterThanOrEqual(10);
    expect(await world.row(leaseId)).toMatchObject({ attempts: 1, last_error: null });
    expect(await world.row(abandoned.jti)).toMatchObject({ attempts: 1, last_error: null });
    expect(failures).toEqual([]);
    expect(register.upstreams.open).toBe(0);
  });

  it('of an upstream that hangs are failures of that upstream', async () => {
    const register = world.replica({
      ...quick,
      MAYFLY_BREAKER_FAILURES: '2',
      MAYFLY_BREAKER_OPEN_MS: '3600000',
      MAYFLY_RETRY_FIRST_MS: '60000',
      MAYFLY_RETRY_LONGEST_MS: '60000',
      MAYFLY_END_CONCURRENCY_PER_INTEGRATION: '2',
    });
    // What minting says of each: it takes longer than it may be silent, and in the end that nothing came.
    const calls = new Map<string, number>();
    world.bus.onRevoke = ({ lease_id }) => {
      const call = (calls.get(lease_id) ?? 0) + 1;
      calls.set(lease_id, call);
      if (call < 3) return Promise.resolve('under_way');
      return Promise.reject(new MayflyError('provider_unavailable', 'the upstream did not answer in time'));
    };
    for (let index = 0; index < 10; index++) await world.issue(register);
    await makeDue();
    register.start();
    await until(async () => {
      const { rowCount } = await world.database.pool.query(
        `SELECT FROM revocation.leases WHERE last_error = 'provider_unavailable'`,
      );
      return rowCount === 10;
    });
    expect(register.upstreams.open).toBe(1);
    expect([...calls.values()]).toEqual(Array.from({ length: 10 }, () => 3));
  });

  it('wait for no more than seconds when it was Mayfly that did not answer', async () => {
    const register = world.replica({
      ...quick,
      MAYFLY_RETRY_FIRST_MS: '60000',
      MAYFLY_RETRY_LONGEST_MS: '60000',
    });
    let away = true;
    world.bus.onRevoke = () =>
      away ? Promise.reject(new MayflyError('dependency_unavailable', 'away')) : Promise.resolve('revoked');
    const leaseId = await world.issue(register);
    await makeDue();
    register.start();
    await until(async () => (await world.row(leaseId))?.['last_error'] === 'dependency_unavailable');
    away = false;
    await inState(leaseId, 'expired');
  });

  it('and clean-ups count neither as tried nor as failing while minting can not be asked', async () => {
    const failures: string[] = [];
    const register = world.replica({ ...quick, MAYFLY_LOUD_AFTER: '3' }, world.bus, (provider) =>
      failures.push(provider),
    );
    let away = true;
    const ask = () =>
      away ? Promise.reject(new MayflyError('dependency_unavailable', 'away')) : Promise.resolve();
    world.bus.onRevoke = async () => ask().then(() => 'revoked');
    world.bus.onReconcile = ask;
    const leaseId = await world.issue(register);
    const failed = grantClaims();
    await register.activations.abandon({
      grant: await world.sign(failed),
      issuance_traceparent: traceparent(),
      reason: 'provider_unavailable',
      cleanup: 'pending',
      mint_id: randomUUID(),
    });
    await makeDue();
    register.start();
    await until(() => world.bus.revoked.length >= 6 && world.bus.reconciled.length >= 6);
    const rows = await Promise.all([leaseId, failed.jti].map((id) => world.row(id)));
    expect(rows.map((row) => row?.['last_error'])).toEqual([
      'dependency_unavailable',
      'dependency_unavailable',
    ]);
    expect(rows.map((row) => row?.['state'])).toEqual(['revoking', 'failed']);
    away = false;
    await inState(leaseId, 'expired');
    await until(async () => (await world.row(failed.jti))?.['cleanup'] === 'done');
    expect(await world.row(leaseId)).toMatchObject({ attempts: 1 });
    expect(await world.row(failed.jti)).toMatchObject({ attempts: 1 });
    expect(await world.eventsOf(leaseId)).toEqual(['credential.issued', 'credential.expired']);
    expect(failures).toEqual([]);
  });

  it('stay where they are while minting is away, hold up no others, and are taken up at once when it is back', async () => {
    const register = world.replica({ ...quick, MAYFLY_BREAKER_FAILURES: '5' });
    let away = true;
    world.bus.onRevoke = () =>
      away ? Promise.reject(new MayflyError('dependency_unavailable', 'away')) : Promise.resolve('revoked');
    await multiply(await world.issue(register), 999);
    await makeDue();
    register.start();
    const token = await issueToken(register, 2_000);
    // A comparison with the upstream of the token asks in vain too, which holds up no end that needs nobody.
    const place = (await world.row(token)) as unknown as Lease;
    const unanswered = () => Promise.reject(new MayflyError('dependency_unavailable', 'away'));
    for (let asked = 0; asked < 10; asked++) {
      await expect(register.upstreams.attempt(place, unanswered)).rejects.toBeDefined();
      await expect(register.upstreams.endAccess(place, unanswered)).rejects.toBeDefined();
    }
    expect(register.upstreams.waitingForMinting).not.toContain(upstreamOf(place));
    await inState(token, 'expired');
    const row = await world.row(token);
    const late = (row?.['ended_at'] as Date).getTime() - (row?.['native_expires_at'] as Date).getTime();
    expect(late).toBeLessThan(1_000);
    // One batch, and a few that looked whether it is back.
    expect(world.bus.revoked.length).toBeLessThan(100);
    away = false;
    const backAt = Date.now();
    const ended = async () => {
      const { rows } = await world.database.pool.query<{ ended: number; first: Date }>(
        `SELECT count(ended_at)::int AS ended, min(ended_at) AS first FROM revocation.leases WHERE provider = 'postgres'`,
      );
      return rows[0];
    };
    await until(async () => (await ended())?.ended === 1_000);
    expect(Date.now() - backAt).toBeLessThan(5_000);
    expect(((await ended())?.first.getTime() ?? Infinity) - backAt).toBeLessThan(1_000);
  });

  it('are not put off for a minting that was away long ago, when nothing has asked it since', async () => {
    const settings = { ...quick, MAYFLY_BREAKER_FAILURES: '2', MAYFLY_END_ATTEMPT_MS: '100' };
    const { upstreams } = world.replica(settings);
    const place = { organization, integration: 'orders-db', state: 'revoking' } as const;
    const unanswered = () => Promise.reject(new MayflyError('dependency_unavailable', 'away'));
    for (let asked = 0; asked < 2; asked++)
      await expect(upstreams.endAccess(place, unanswered)).rejects.toBeDefined();
    expect(upstreams.waitingForMinting).toEqual([upstreamOf(place)]);
    await until(() => upstreams.waitingForMinting.length === 0);
  });

  it('of an upstream that ends a long backlog quickly do not hide those of another', async () => {
    const register = world.replica(quick);
    await multiply(await issueToken(register, 60_000), 9_999);
    const other = await world.issue(register);
    await world.database.pool.query(
      `UPDATE revocation.leases
       SET due_at = now() + CASE lease_id WHEN $1 THEN interval '500 ms' ELSE interval '0' END`,
      [other],
    );
    register.start();
    await inState(other, 'expired');
    const endedAt = (await world.row(other))?.['ended_at'] as Date;
    const { rowCount } = await world.database.pool.query(
      `SELECT FROM revocation.leases WHERE provider = 'jwt' AND (ended_at IS NULL OR ended_at > $1)`,
      [endedAt],
    );
    expect(rowCount).toBeGreaterThan(1_000);
  });

  it('of a service that stops are finished, those that somebody asked for as well', async () => {
    const register = world.replica({ ...quick, MAYFLY_END_ANSWER_MS: '20' });
    const leaseId = await world.issue(register);
    let finish: () => void = () => undefined;
    world.bus.onRevoke = () => new Promise((resolve) => (finish = () => resolve('revoked')));
    const act = { action: 'end_lease', lease_id: leaseId, reason: 'done' } as const;
    expect(await register.ends.endLease(await world.assert(act))).toMatchObject({ outcome: 'ending' });
    const stopped = register.stop();
    finish();
    await stopped;
    expect(await stateOf(leaseId)).toBe('revoked');
  });

  it('end on time however many other integrations hang', async () => {
    const register = world.replica({
      ...quick,
      MAYFLY_END_CONCURRENCY: '8',
      MAYFLY_END_CONCURRENCY_PER_INTEGRATION: '4',
    });
    const at = (name: string): GrantChanges => ({
      credential: `${name}/x`,
      integration: { name, settings: {}, secret_references: [] },
    });
    for (let index = 0; index < 60; index++) await world.issue(register, at(`hung-${index % 5}`));
    await makeDue();
    let release: () => void = () => undefined;
    const blocked = new Promise<void>((resolve) => (release = resolve));
    world.bus.onRevoke = async ({ integration }) => {
      if (integration.startsWith('hung-')) await blocked;
      return 'revoked';
    };
    register.start();
    await until(() => world.bus.running >= 5);
    const leaseId = await world.issue(register, { ...at('well'), ttl_seconds: 1 });
    await inState(leaseId, 'expired');
    const row = await world.row(leaseId);
    const late = (row?.['ended_at'] as Date).getTime() - (row?.['expires_at'] as Date).getTime();
    expect(late).toBeLessThan(1_000);
    release();
  });

  it('that only expire are over at their native expiry, without a call of the provider', async () => {
    const register = world.replica(quick);
    const native = new Date(Date.now() + 700).toISOString();
    register.start();
    const leaseId = await world.issue(
      register,
      { provider: 'jwt', ttl_seconds: 60 },
      { revocability: { kind: 'expiry_only' }, native_expires_at: native },
    );
    await inState(leaseId, 'expired');
    expect((await world.row(leaseId))?.['ended_at']).not.toBeNull();
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(native));
    expect(world.bus.revoked).toEqual([]);
  });

  it('may be written as ended by one of several writers only', async () => {
    const register = world.replica();
    const leaseId = await world.issue(register);
    await world.database.pool.query(
      `UPDATE revocation.leases SET state = 'revoking', end_cause = 'expired' WHERE lease_id = $1`,
      [leaseId],
    );
    const facts = { leaseId, ...((await world.row(leaseId)) as object) } as unknown as Parameters<
      typeof leaseEvent
    >[1];
    const write = async () => {
      const event = leaseEvent('credential.expired', { ...facts, issuanceTraceparent: traceparent() });
      return completeEnds(world.database.pool, [{ leaseId, claims: 0, state: 'expired', event }]);
    };
    const written = await Promise.all([write(), write(), write()]);
    expect(written.filter((ids) => ids.has(leaseId))).toHaveLength(1);
    expect(await world.eventsOf(leaseId)).toEqual(['credential.issued', 'credential.expired']);
  });

  describe('mints without activation', () => {
    const intended = () => {
      const { jti, actor, credential, provider } = grantClaims();
      return newEvent(
        'minting',
        'credential.intended',
        {
          organization,
          lease_id: jti,
          session_id: actor.session_id,
          agent_id: actor.agent_id,
          credential,
          provider,
          ttl_seconds: 60,
          config_version: 3,
        },
        { subject: jti, traceparent: traceparent() },
      );
    };

    it('become orphans, what they left is removed by name, and a late activation is refused', async () => {
      const register = world.replica({ ...quick, MAYFLY_ORPHAN_AFTER_MS: '200' });
      register.start();
      const claims = grantClaims();
      const event = intended();
      await register.intents.record([
        { event: { ...event, data: { ...event.data, lease_id: claims.jti } }, reject: () => undefined },
      ]);
      await until(async () => (await world.row(claims.jti))?.['cleanup'] === 'done');
      expect(await world.row(claims.jti)).toMatchObject({ state: 'orphaned', due_at: null });
      expect(world.bus.reconciled).toEqual([claims.jti]);
      const grant = await world.sign(claims);
      await expect(register.activations.activate(activateInput(grant))).rejects.toMatchObject({
        code: 'lease_ended',
      });
      expect(await world.eventsOf(claims.jti)).toEqual(['credential.orphaned']);
    });

    it.each([
      ['as if their intent had been recorded at once', -20_000, 40_000],
      ['with half of the time left, however old the intent claims to be', -3_600_000, 30_000],
      ['no later than when the intent claims to come from the future', 3_600_000, 60_000],
    ])('are orphaned %s', async (_, toldMs, dueMs) => {
      const register = world.replica({ MAYFLY_ORPHAN_AFTER_MS: '60000' });
      const event = { ...intended(), time: new Date(Date.now() + toldMs).toISOString() };
      await register.intents.record([{ event, reject: () => undefined }]);
      const due = (await world.row(event.subject ?? ''))?.['due_at'] as Date;
      expect(Math.abs(due.getTime() - Date.now() - dueMs)).toBeLessThan(5_000);
    });

    it('that have no name are recorded as unreachable', async () => {
      world.bus.reconcileOutcome = 'unreachable';
      const register = world.replica({ ...quick, MAYFLY_ORPHAN_AFTER_MS: '10' });
      register.start();
      const event = intended();
      await register.intents.record([{ event, reject: () => undefined }]);
      const leaseId = event.subject ?? '';
      await until(async () => (await world.row(leaseId))?.['cleanup'] === 'unreachable');
      expect(await world.row(leaseId)).toMatchObject({ state: 'orphaned', due_at: null });
    });

    it('that no configuration knows where to look for are recorded as unreachable, not tried for ever', async () => {
      world.bus.onOrder = () => Promise.reject(new MayflyError('not_found', 'no such integration'));
      const register = world.replica({ ...quick, MAYFLY_ORPHAN_AFTER_MS: '10' });
      register.start();
      const event = intended();
      await register.intents.record([{ event, reject: () => undefined }]);
      await until(async () => (await world.row(event.subject ?? ''))?.['cleanup'] === 'unreachable');
      expect(world.bus.reconciled).toEqual([]);
    });

    it('are cleaned up for as long as it takes', async () => {
      let failures = 8;
      world.bus.onReconcile = () =>
        failures-- > 0 ? Promise.reject(new MayflyError('provider_unavailable', 'away')) : Promise.resolve();
      const register = world.replica({ ...quick, MAYFLY_ORPHAN_AFTER_MS: '10' });
      register.start();
      const event = intended();
      await register.intents.record([{ event, reject: () => undefined }]);
      await until(async () => (await world.row(event.subject ?? ''))?.['cleanup'] === 'done');
      expect(world.bus.reconciled).toHaveLength(9);
      expect(await world.eventsOf(event.subject ?? '')).toEqual(['credential.orphaned']);
    });

    it('that failed with something left are cleaned up by their handle', async () => {
      const register = world.replica(quick);
      register.start();
      const claims = grantClaims({ actor: { session_id: randomUUID() } });
      await register.activations.abandon({
        grant: await world.sign(claims),
        issuance_traceparent: traceparent(),
        reason: 'provider_unavailable',
        cleanup: 'pending',
        handle,
        mint_id: randomUUID(),
      });
      await until(async () => (await world.row(claims.jti))?.['cleanup'] === 'done');
      expect(await world.row(claims.jti)).toMatchObject({ state: 'failed', handle: null });
      expect(world.bus.revoked).toEqual([claims.jti]);
    });

    it('that are no intents are rejected, and the others of the batch kept', async () => {
      const register = world.replica();
      const good = intended();
      const bad = { ...good, data: { organization } };
      const reasons: string[] = [];
      await register.intents.record([
        { event: bad, reject: (reason) => reasons.push(reason) },
        { event: good, reject: (reason) => reasons.push(reason) },
      ]);
      expect(reasons).toHaveLength(1);
      expect(await world.row(good.subject ?? '')).toMatchObject({
        state: 'intended',
        integration: 'orders-db',
      });
    });
  });
});
