import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { MayflyError, type RevocationSubject } from '@mayfly/contracts';
import pg from 'pg';
import type { Register } from '../register.ts';
import {
  activateInput,
  agentId,
  FakeBus,
  grantClaims,
  handle,
  openWorld,
  organization,
  traceparent,
  until,
  type World,
} from '../register-fixtures.ts';
import { registerSize } from '../store/reading.ts';
import { batchSize, RevocationGatherer } from './gatherer.ts';

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'ok',
    (error: unknown) => (error as MayflyError).code,
  );

type Asker = Parameters<World['assert']>[1];

const asker = (world: World, register: Register) => ({
  revoke: async (subject: RevocationSubject, who: Asker = { administrator: true }) =>
    register.revocations.revoke(await world.assert({ action: 'revoke', subject, reason: 'leak' }, who)),
  get: async (
    revocation_id: string,
    page: { leases?: 'all' | 'ended' | 'open'; after?: string; limit?: number } = {},
    who: Asker = { administrator: true },
  ) =>
    register.revocations.get({
      assertion: await world.assert({ action: 'read_revocation', revocation_id }, who),
      leases: 'all',
      limit: 100,
      ...page,
    }),
  list: async (who: Asker = { administrator: true }) =>
    register.revocations.list({
      assertion: await world.assert({ action: 'list_revocations' }, who),
      limit: 20,
    }),
});

/** Adds live leases of a user straight to the table, as activations would have left them. */
async function addLeases(world: World, user: string, count: number, org = organization): Promise<void> {
  await world.database.pool.query(
    `INSERT INTO revocation.leases (lease_id, state, organization, session_id, agent_id, "user", credential, integration, provider,
       scope, ttl_seconds, config_version, revocability, issuance_traceparent, granted_at, issued_at, expires_at, handle, due_at)
     SELECT gen_random_uuid(), 'active', $3, gen_random_uuid(), 'spiffe://a.test/agent/a/b/x', $1, 'db-' || n % 7 || '/x', 'db-' || n % 7,
       'postgres', '{}', 600, 1, '{"kind":"immediate"}', $4, now(), now(), now() + interval '1 hour', $5, now() + interval '1 hour'
     FROM generate_series(1, $2) n`,
    [user, count, org, traceparent(), handle],
  );
}

/** Connections of a process that is paused once, after this statement, and wakes when Postgres has given it up. */
function pausedAfter(connectionString: string, statement: string) {
  // Without a bound of its own, the transaction would end when those of the service do.
  const pool = new pg.Pool({ connectionString, max: 1, idle_in_transaction_session_timeout: 20_000 });
  let tellReached: () => void = () => undefined;
  const reached = new Promise<void>((resolve) => (tellReached = resolve));
  const paused = { pool, reached, connections: 0 };
  pool.on('connect', (client) => {
    if (++paused.connections > 1) return;
    const query = client.query.bind(client) as (...args: unknown[]) => unknown;
    client.query = (async (...args: unknown[]) => {
      const result = await query(...args);
      if ((args[0] as { name?: string }).name !== statement) return result;
      const cut = once(client, 'end');
      tellReached();
      await cut;
      return result;
    }) as typeof client.query;
  });
  return paused;
}

const statesOf = async (world: World, user: string) => {
  const { rows } = await world.database.pool.query<{ state: string; leases: number }>(
    `SELECT state, count(*)::int AS leases FROM revocation.leases WHERE "user" = $1 GROUP BY state ORDER BY state`,
    [user],
  );
  return Object.fromEntries(rows.map(({ state, leases }) => [state, leases]));
};

describe('a revocation', () => {
  let world: World;
  let register: Register;
  let ask: ReturnType<typeof asker>;

  beforeAll(async () => {
    world = await openWorld();
    register = world.replica();
    register.start();
    ask = asker(world, register);
  });
  afterAll(() => world.close());

  it('by any subject ends all its leases and only those', async () => {
    const session = randomUUID();
    const child = await world.issue(register, { actor: { parent_session_id: session, user: 'u1' } });
    const own = await world.issue(register, { actor: { session_id: session, user: 'u2' } });
    const other = await world.issue(register, { actor: { user: 'u3', agent_id: agentId('x') } });
    const elsewhere = await world.issue(register, {
      credential: 'crm/admin',
      integration: { name: 'crm', settings: {}, secret_references: [] },
      actor: { agent_id: agentId('y') },
    });
    const idsOf = ({ leases = [] }: Awaited<ReturnType<typeof ask.revoke>>) =>
      leases.map(({ lease_id, outcome }) => `${lease_id} ${outcome}`).sort();
    const revoked = (...ids: string[]) => ids.map((id) => `${id} revoked`).sort();

    expect(idsOf(await ask.revoke({ kind: 'session', id: session }))).toEqual(revoked(child, own));
    expect(idsOf(await ask.revoke({ kind: 'user', id: 'u3' }))).toEqual(revoked(other));
    expect(idsOf(await ask.revoke({ kind: 'integration', id: 'cr' }))).toEqual([]);
    expect(idsOf(await ask.revoke({ kind: 'integration', id: 'crm' }))).toEqual(revoked(elsewhere));
    const again = await ask.revoke({ kind: 'integration', id: 'crm' });
    expect(again).toMatchObject({ matched: 0, leases: [], status: 'done' });
    const last = await world.issue(register, { credential: 'orders-db/last' });
    expect(idsOf(await ask.revoke({ kind: 'credential', id: 'orders-db/last' }))).toEqual(revoked(last));
    const single = await world.issue(register);
    expect(idsOf(await ask.revoke({ kind: 'lease', id: single }))).toEqual(revoked(single));
    const byAgent = await world.issue(register, { actor: { agent_id: agentId('lone') } });
    expect(idsOf(await ask.revoke({ kind: 'agent', id: agentId('lone') }))).toEqual(revoked(byAgent));
  });

  it('tells how each lease ends, who asked for it, and appears in its events', async () => {
    const native = new Date(Date.now() + 50_000).toISOString();
    const actor = { user: 'honest' };
    const immediate = await world.issue(register, { actor });
    const eventual = await world.issue(
      register,
      { actor },
      { revocability: { kind: 'eventual', within_seconds: 60 } },
    );
    const token = await world.issue(
      register,
      { actor, provider: 'jwt' },
      { revocability: { kind: 'expiry_only' }, native_expires_at: native },
    );
    const administrator = { administrator: true, agentId: 'spiffe://acme.test/person/grace' };
    const answer = await ask.revoke({ kind: 'user', id: 'honest' }, administrator);
    expect(answer).toMatchObject({
      subject: { kind: 'user', id: 'honest' },
      reason: 'leak',
      asked_by: 'spiffe://acme.test/person/grace',
      status: 'done',
      matched: 3,
      by_revocability: { immediate: 1, eventual: 1, expiry_only: 1 },
      revoked: 3,
      pending: 0,
      failing: 0,
    });
    const outcomes = new Map(answer.leases?.map((lease) => [lease.lease_id, lease]));
    expect(outcomes.get(immediate)).toMatchObject({ outcome: 'revoked' });
    expect(outcomes.get(token)).toMatchObject({ outcome: 'expiry_only', by: native });
    const told = outcomes.get(eventual);
    expect(told?.outcome).toBe('eventual');
    expect(Date.parse(told?.by ?? '') - Date.parse(told?.ended_at ?? '')).toBe(60_000);

    const { revocation_id } = answer;
    const events = async () =>
      (await world.outbox())
        .filter(({ data }) => data.revocation_id === revocation_id)
        .map(({ type }) => type.replace(/^dev\.mayfly\.|\.v1$/g, ''));
    await until(async () => (await events()).length === 5);
    expect(await events()).toEqual([
      'revocation.requested',
      'credential.revoked',
      'credential.revoked',
      'credential.revoked',
      'revocation.completed',
    ]);
    expect((await ask.get(revocation_id)).revocation).toMatchObject({ done_at: expect.any(String) });
  });

  it('leaves alone what is granted after it', async () => {
    const before = await world.issue(register, { actor: { user: 'later' } });
    const slow = new FakeBus();
    const held = world.replica({ MAYFLY_END_ANSWER_MS: '1' }, slow);
    const { revocation_id } = await asker(world, held).revoke({ kind: 'user', id: 'later' });
    const claims = grantClaims({ actor: { user: 'later' } });
    const grant = await world.sign(claims, { now: new Date(Date.now() + 10) });
    await register.activations.activate(activateInput(grant));
    await until(async () => (await ask.get(revocation_id)).revocation.status === 'done');
    expect(await world.row(before)).toMatchObject({ state: 'revoked' });
    expect(await world.row(claims.jti)).toMatchObject({ state: 'active' });
  });

  it('of what an upstream will not end says so, and asking again tries at once', async () => {
    const refusing = await openWorld();
    try {
      const stubborn = refusing.replica({
        MAYFLY_LOUD_AFTER: '1',
        MAYFLY_RETRY_FIRST_MS: '60000',
        MAYFLY_RETRY_LONGEST_MS: '60000',
        MAYFLY_END_ANSWER_MS: '300',
      });
      stubborn.start();
      const leaseId = await refusing.issue(stubborn, { actor: { user: 'stuck' } });
      refusing.bus.onRevoke = () => Promise.reject(new MayflyError('provider_unavailable', 'away'));
      const stubbornAsk = asker(refusing, stubborn);
      const first = await stubbornAsk.revoke({ kind: 'user', id: 'stuck' });
      await until(async () => (await stubbornAsk.get(first.revocation_id)).revocation.failing === 1);
      expect(await stubbornAsk.get(first.revocation_id, { leases: 'open' })).toMatchObject({
        revocation: { status: 'ending', matched: 1, revoked: 0, pending: 0, failing: 1 },
        leases: [{ lease_id: leaseId, outcome: 'failing' }],
      });
      refusing.bus.onRevoke = () => Promise.resolve('revoked');
      const second = await stubbornAsk.revoke({ kind: 'user', id: 'stuck' });
      expect(second).toMatchObject({ matched: 1, status: 'done', leases: [{ outcome: 'revoked' }] });
      expect((await stubbornAsk.get(first.revocation_id)).revocation).toMatchObject({
        status: 'done',
        revoked: 1,
      });
      const { rows } = await refusing.database.pool.query(
        'SELECT revocation_id FROM revocation.leases WHERE lease_id = $1',
        [leaseId],
      );
      expect(rows).toEqual([{ revocation_id: first.revocation_id }]);
    } finally {
      await refusing.close();
    }
  });

  it('is for administrators alone, and everything for platform administrators', async () => {
    const subject = { kind: 'user', id: 'nobody' } as const;
    expect(await codeOf(ask.revoke(subject, {}))).toBe('policy_denied');
    expect(await codeOf(ask.revoke(subject, { platformAdministrator: true }))).toBe('policy_denied');
    expect(await codeOf(ask.revoke({ kind: 'everything' }, { administrator: true }))).toBe('policy_denied');
    const { revocation_id } = await ask.revoke(subject);
    expect(await codeOf(ask.get(revocation_id, {}, {}))).toBe('policy_denied');
    expect(await codeOf(ask.list({}))).toBe('policy_denied');
  });

  it('by a fence alone stops what was granted before and ends nothing', async () => {
    const subject = { kind: 'agent', id: agentId('fenced') } as const;
    const lives = await world.issue(register, { actor: { agent_id: subject.id } });
    const grant = await world.sign(grantClaims({ actor: { agent_id: subject.id } }), {
      now: new Date(Date.now() - 20),
    });
    const act = { action: 'fence', subject, reason: 'blocked' } as const;
    expect(await codeOf(register.revocations.fence(await world.assert(act)))).toBe('policy_denied');
    await register.revocations.fence(
      await world.assert(act, { administrator: true, organization: 'other-org' }),
    );
    await register.revocations.fence(await world.assert(act, { administrator: true }));
    expect(await codeOf(register.activations.activate(activateInput(grant)))).toBe('lease_ended');
    expect(await world.row(lives)).toMatchObject({ state: 'active' });
    const later = await world.sign(grantClaims({ actor: { agent_id: subject.id } }), {
      now: new Date(Date.now() + 10),
    });
    expect(await codeOf(register.activations.activate(activateInput(later)))).toBe('ok');
  });

  it('of what can not be is refused before anything is written', async () => {
    const fences = async () =>
      (await world.database.pool.query('SELECT FROM revocation.fences')).rowCount ?? 0;
    const before = await fences();
    // Nobody can sign it, so none of it gets as far as here.
    for (const kind of ['lease', 'session'] as const)
      expect(await codeOf(ask.revoke({ kind, id: 'no uuid' }))).toBe('internal');
    expect(await codeOf(ask.revoke({ kind: 'organization', id: 'other-org' }))).toBe('policy_denied');
    expect(await fences()).toBe(before);
  });

  it('I5: touches no lease of another organization, and is not there for its administrators', async () => {
    const leaseId = await world.issue(register, { actor: { user: 'shared', session_id: randomUUID() } });
    const stranger = { administrator: true, organization: 'other-org' };
    for (const subject of [
      { kind: 'lease', id: leaseId },
      { kind: 'user', id: 'shared' },
      { kind: 'credential', id: 'orders-db/readonly' },
      { kind: 'integration', id: 'orders-db' },
      { kind: 'agent', id: agentId('one') },
      { kind: 'organization' },
    ] as const)
      expect(await ask.revoke(subject, stranger)).toMatchObject({ matched: 0, leases: [] });
    expect(await world.row(leaseId)).toMatchObject({ state: 'active' });
    const { revocation_id } = await ask.revoke({ kind: 'user', id: 'shared' });
    expect(await codeOf(ask.get(revocation_id, {}, stranger))).toBe('not_found');
    const platform = { platformAdministrator: true, agentId: agentId('platform') };
    expect(await codeOf(ask.get(revocation_id, {}, platform))).toBe('not_found');
    const { revocations } = await ask.list(stranger);
    expect(revocations).toHaveLength(6);
    expect(JSON.stringify(revocations)).not.toContain(revocation_id);
  });

  it('is listed newest first, and its leases page by page in either order', async () => {
    await addLeases(world, 'paged', 25);
    const { revocation_id } = await ask.revoke({ kind: 'user', id: 'paged' });
    expect((await ask.list()).revocations[0]).toMatchObject({ revocation_id, matched: 25 });
    for (const leases of ['all', 'ended'] as const) {
      const seen: string[] = [];
      for (let after: string | undefined, more = true; more;) {
        const page = await ask.get(revocation_id, { leases, limit: 10, ...(after && { after }) });
        seen.push(...page.leases.map(({ lease_id }) => lease_id));
        after = page.next;
        more = after !== undefined;
      }
      expect(new Set(seen).size).toBe(25);
      expect(seen).toHaveLength(25);
    }
    for (const after of ['x', "2026-01-01T00:00:00.000000Z_'", `9_${randomUUID()}`, ''])
      expect(await codeOf(ask.get(revocation_id, { leases: 'ended', after }))).toBe('invalid_request');
  });
});

describe('a revocation of everything', () => {
  let world: World;
  beforeEach(async () => {
    world = await openWorld();
  });
  afterEach(() => world.close());

  it('ends the leases of every organization and stops every mint under way', async () => {
    const register = world.replica();
    register.start();
    await addLeases(world, 'ann', 3, 'acme');
    await addLeases(world, 'ann', 2, 'globex');
    const under = await world.sign(grantClaims({ actor: { organization: 'initech' } }));
    const who = { platformAdministrator: true };
    const ask = asker(world, register);
    const answer = await ask.revoke({ kind: 'everything' }, who);
    expect(answer).toMatchObject({ subject: { kind: 'everything' }, matched: 5, revoked: 5 });
    expect(new Set(answer.leases?.map((lease) => lease.organization))).toEqual(new Set(['acme', 'globex']));
    expect(['lease_ended', 'conflict']).toContain(
      await codeOf(register.activations.activate(activateInput(under))),
    );
    const grant = await world.sign(grantClaims(), { now: new Date(Date.now() + 10) });
    expect(await codeOf(register.activations.activate(activateInput(grant)))).toBe('ok');
    expect(await codeOf(ask.get(answer.revocation_id))).toBe('not_found');
    expect((await ask.list()).revocations).toEqual([]);
    expect((await ask.list(who)).revocations).toHaveLength(1);
  });
});

describe('a revocation of many', () => {
  let world: World;
  beforeEach(async () => {
    world = await openWorld();
  });
  afterEach(() => world.close());

  const user = 'many@acme.test';

  it('commits its fence before any lease has moved', async () => {
    const idle = world.replica({ MAYFLY_END_ANSWER_MS: '1' });
    await addLeases(world, user, 3);
    const under = await world.sign(grantClaims({ actor: { user } }), { now: new Date(Date.now() - 1_000) });
    const answer = await asker(world, idle).revoke({ kind: 'user', id: user });
    expect(answer).toMatchObject({ status: 'gathering', matched: 0 });
    expect(answer.leases).toBeUndefined();
    expect(await statesOf(world, user)).toEqual({ active: 3 });
    expect(await codeOf(idle.activations.activate(activateInput(under)))).toBe('lease_ended');
    const { rows } = await world.database.pool.query(
      'SELECT subject_id FROM revocation.fences WHERE subject_id = $1',
      [user],
    );
    expect(rows).toHaveLength(1);
  });

  it('is finished by another replica when the first dies after some of it', async () => {
    const dying = world.replica({ MAYFLY_END_ANSWER_MS: '1' });
    await addLeases(world, user, batchSize + 500);
    const { revocation_id } = await asker(world, dying).revoke({ kind: 'user', id: user });
    expect(await dying.gatherer.step()).toBe(true);
    // And then it is no more.
    expect(await statesOf(world, user)).toEqual({ active: 500, revoking: batchSize });
    const other = world.replica();
    const ask = asker(world, other);
    expect((await ask.get(revocation_id)).revocation).toMatchObject({
      status: 'gathering',
      matched: batchSize,
      pending: batchSize,
    });
    other.start();
    await until(async () => (await ask.get(revocation_id)).revocation.status === 'done', 30_000);
    expect(await statesOf(world, user)).toEqual({ revoked: batchSize + 500 });
    expect((await ask.get(revocation_id)).revocation.matched).toBe(batchSize + 500);
  });

  it('is continued by another replica when the first dies in the middle of a batch', async () => {
    const register = world.replica({ MAYFLY_END_ANSWER_MS: '1' });
    await addLeases(world, user, 10);
    const { revocation_id } = await asker(world, register).revoke({ kind: 'user', id: user });
    const dying = await world.database.pool.connect();
    await dying.query('BEGIN');
    await dying.query('SELECT FROM revocation.revocations FOR NO KEY UPDATE');
    await dying.query(`UPDATE revocation.leases SET due_at = now() WHERE "user" = $1`, [user]);
    expect(await register.gatherer.step()).toBe(false);
    dying.release(true);
    await until(() => register.gatherer.step());
    expect((await asker(world, register).get(revocation_id)).revocation).toMatchObject({ matched: 10 });
  });

  it('holds up no end for long when a replica is paused in the middle of a batch, which is then done again', async () => {
    const register = world.replica();
    const leaseId = await world.issue(register, { actor: { user } });
    await addLeases(world, user, 9);
    const asking = world.replica({ MAYFLY_END_ANSWER_MS: '1' });
    const { revocation_id } = await asker(world, asking).revoke({ kind: 'user', id: user });
    const paused = pausedAfter(world.database.url, 'gather_batch');
    try {
      const nowhere = { nudge: () => undefined };
      const gatherer = new RevocationGatherer({
        pool: paused.pool,
        relay: nowhere,
        due: nowhere,
        logger: { error: () => undefined },
        pollMs: 50,
        keepSeconds: 3_600,
      });
      const step = gatherer.step();
      await paused.reached;
      const asked = performance.now();
      const act = { action: 'end_lease', lease_id: leaseId, reason: 'done' } as const;
      expect(await register.ends.endLease(await world.assert(act))).toMatchObject({ outcome: 'revoked' });
      expect(performance.now() - asked).toBeLessThan(3_000);
      await step;
      await until(() => gatherer.step());
      expect(await statesOf(world, user)).toEqual({ revoked: 1, revoking: 9 });
      expect((await asker(world, register).get(revocation_id)).revocation).toMatchObject({ matched: 9 });
      expect(paused.connections).toBe(2);
    } finally {
      await paused.pool.end();
    }
  });

  it('of 10,000 is moved in bounded transactions, by two replicas at once, each lease once', async () => {
    const count = 10_000;
    await addLeases(world, user, count);
    await addLeases(world, 'bystander', 10);
    const buses = [new FakeBus(), new FakeBus()];
    const [first, second] = buses.map((replicaBus) => world.replica({}, replicaBus));
    first?.start();
    second?.start();
    if (first === undefined) throw new Error('unreachable');
    const ask = asker(world, first);
    const { revocation_id } = await ask.revoke({ kind: 'user', id: user });
    // A transaction that has moved more than a batch would show more.
    const { rows } = await world.database.pool.query<{ most: number }>(
      `SELECT max(leases)::int AS most FROM (SELECT count(*) AS leases FROM revocation.revocation_leases GROUP BY xmin) t`,
    );
    expect(rows[0]?.most).toBe(batchSize);
    await until(
      async () => (await ask.get(revocation_id, { limit: 0 })).revocation.status === 'done',
      60_000,
    );
    expect((await ask.get(revocation_id, { limit: 0 })).revocation).toMatchObject({
      matched: count,
      revoked: count,
    });
    const revoked = buses.flatMap((replicaBus) => replicaBus.revoked);
    expect(revoked).toHaveLength(count);
    expect(new Set(revoked).size).toBe(count);
    expect(await statesOf(world, 'bystander')).toEqual({ active: 10 });
  }, 90_000);

  it('asked for by two administrators at once ends each lease once, and both are told', async () => {
    const replicas = [world.replica(), world.replica()];
    for (const replica of replicas) replica.start();
    await addLeases(world, user, 90);
    const answers = await Promise.all(
      replicas.map((replica) => asker(world, replica).revoke({ kind: 'user', id: user })),
    );
    for (const { revocation_id, matched } of answers) {
      const [replica] = replicas;
      if (replica === undefined) throw new Error('unreachable');
      await until(async () => (await asker(world, replica).get(revocation_id)).revocation.status === 'done');
      expect(matched).toBeLessThanOrEqual(90);
    }
    expect(Math.max(...answers.map(({ matched }) => matched))).toBe(90);
    expect(await statesOf(world, user)).toEqual({ revoked: 90 });
    expect(new Set(world.bus.revoked).size).toBe(90);
    expect(world.bus.revoked).toHaveLength(90);
  });

  it('wins against every activation that races with it', async () => {
    const register = world.replica();
    register.start();
    for (const subject of [
      { kind: 'user', id: user },
      { kind: 'credential', id: 'orders-db/readonly' },
      { kind: 'organization' },
      { kind: 'everything' },
    ] as const) {
      const grants = await Promise.all(
        Array.from({ length: 24 }, () => world.sign(grantClaims({ actor: { user } }))),
      );
      const activate = (some: string[]) =>
        some.map((grant) => codeOf(register.activations.activate(activateInput(grant))));
      const early = activate(grants.slice(0, 8));
      const revoked = asker(world, register).revoke(subject, {
        administrator: true,
        platformAdministrator: true,
      });
      const late = activate(grants.slice(8));
      const { revocation_id } = await revoked;
      const codes = await Promise.all([...early, ...late]);
      await until(async () => {
        const { rowCount } = await world.database.pool.query(
          'SELECT FROM revocation.revocations WHERE revocation_id = $1 AND done_at IS NOT NULL',
          [revocation_id],
        );
        return rowCount === 1;
      });
      expect((await statesOf(world, user))['active']).toBeUndefined();
      expect(codes.filter((code) => !['ok', 'lease_ended', 'conflict'].includes(code))).toEqual([]);
    }
  });

  const endFirst = async (count: number): Promise<void> => {
    for (const move of [
      `state = 'revoking', end_cause = 'revoked', end_reason = 'leak'`,
      `state = 'revoked', ended_at = now(), handle = NULL, due_at = NULL`,
    ])
      await world.database.pool.query(
        `UPDATE revocation.leases SET ${move} WHERE lease_id IN (
           SELECT lease_id FROM revocation.leases WHERE ended_at IS NULL ORDER BY lease_id LIMIT $1)`,
        [count],
      );
  };

  /** Gathered already, with so many leases of which the last `open` have not ended. */
  const addGathered = async (count: number, open: number): Promise<string> => {
    const revocationId = randomUUID();
    await addLeases(world, user, count);
    await world.database.pool.query(
      `INSERT INTO revocation.revocations (revocation_id, organization, subject_kind, subject_id, reason, asked_by,
         asked_organization, asked_session_id, asked_at, instant, immediate, gathered_at, due_at)
       VALUES ($1, $2, 'user', $3, 'leak', 'spiffe://acme.test/person/ann', $2, gen_random_uuid(), now(), now(), $4, now(), now())`,
      [revocationId, organization, user, count],
    );
    await world.database.pool.query(
      'INSERT INTO revocation.revocation_leases SELECT $1, lease_id FROM revocation.leases',
      [revocationId],
    );
    await endFirst(count - open);
    return revocationId;
  };

  it('that can not go on holds up no other', async () => {
    const register = world.replica({ MAYFLY_END_ANSWER_MS: '1', MAYFLY_DUE_POLL_MS: '60000' });
    const ask = asker(world, register);
    await addLeases(world, user, 3);
    const broken = (await ask.revoke({ kind: 'session', id: randomUUID() })).revocation_id;
    // A row that makes its own step fail: the schema allows none such.
    await world.database.pool.query(
      'ALTER TABLE revocation.revocations DROP CONSTRAINT subject_is_canonical',
    );
    await world.database.pool.query(
      `UPDATE revocation.revocations SET subject_id = 'no uuid', due_at = now() - interval '1 hour'`,
    );
    const { revocation_id } = await ask.revoke({ kind: 'user', id: user });
    while (await register.gatherer.step());
    expect((await ask.get(revocation_id)).revocation).toMatchObject({ matched: 3, status: 'ending' });
    expect((await ask.get(broken)).revocation.status).toBe('gathering');
    const due = async () =>
      (
        await world.database.pool.query<{ later: boolean }>(
          'SELECT due_at > now() AS later FROM revocation.revocations WHERE revocation_id = $1',
          [broken],
        )
      ).rows;
    expect(await due()).toEqual([{ later: true }]);
    await world.database.pool.query(
      'UPDATE revocation.revocations SET subject_id = gen_random_uuid(), due_at = now() WHERE revocation_id = $1',
      [broken],
    );
    while (await register.gatherer.step());
    expect((await ask.get(broken)).revocation.status).toBe('done');
  });

  it('is gathered before it is looked whether a hundred others are done', async () => {
    const register = world.replica({ MAYFLY_END_ANSWER_MS: '1' });
    const waiting = await addGathered(1, 1);
    await world.database.pool.query(
      `INSERT INTO revocation.revocations SELECT (r).* FROM (
         SELECT jsonb_populate_record(r, jsonb_build_object('revocation_id', gen_random_uuid(), 'due_at', now() - interval '1 hour')) AS r
         FROM revocation.revocations r, generate_series(1, 100) WHERE r.revocation_id = $1) copies`,
      [waiting],
    );
    await addLeases(world, 'urgent', 2);
    const ask = asker(world, register);
    const { revocation_id } = await ask.revoke({ kind: 'user', id: 'urgent' });
    expect(await register.gatherer.step()).toBe(true);
    expect((await ask.get(revocation_id)).revocation).toMatchObject({ status: 'ending', matched: 2 });
  });

  it('is told with its age until it is done', async () => {
    const register = world.replica();
    const open = async () => (await registerSize(world.database.pool)).openRevocations;
    expect(await open()).toEqual({ count: 0, oldestSeconds: 0 });
    await addGathered(2, 1);
    await world.database.pool.query(
      `UPDATE revocation.revocations SET asked_at = now() - interval '20 seconds'`,
    );
    await asker(world, world.replica({ MAYFLY_END_ANSWER_MS: '1' })).revoke({ kind: 'user', id: 'newer' });
    expect((await open()).count).toBe(2);
    expect((await open()).oldestSeconds).toBeGreaterThanOrEqual(20);
    expect((await open()).oldestSeconds).toBeLessThan(60);
    await endFirst(1);
    while (await register.gatherer.step());
    expect(await open()).toEqual({ count: 0, oldestSeconds: 0 });
  });

  it('is done with the last of its leases, and passes each that has ended once', async () => {
    const register = world.replica();
    const revocationId = await addGathered(25_000, 1);
    // Three looks: 10,000 have ended, and 10,000 more; then there is the one that has not.
    for (let look = 0; look < 3; look++) expect(await register.gatherer.step()).toBe(true);
    expect(await register.gatherer.step()).toBe(false);
    const { rows } = await world.database.pool.query<{ open_from: string; lease_id: string }>(
      `SELECT r.open_from, l.lease_id FROM revocation.revocations r, revocation.leases l WHERE l.ended_at IS NULL`,
    );
    expect(rows).toHaveLength(1);
    expect(rows[0]?.open_from).toBe(rows[0]?.lease_id);
    const lookAgain = () =>
      world.database.pool.query('UPDATE revocation.revocations SET due_at = now() WHERE done_at IS NULL');
    await lookAgain();
    expect(await register.gatherer.step()).toBe(true);
    expect(await register.gatherer.step()).toBe(false);
    await endFirst(1);
    await lookAgain();
    expect(await register.gatherer.step()).toBe(true);
    expect((await asker(world, register).get(revocationId)).revocation.status).toBe('done');
  });

  it('of very many is forgotten some at a time, itself last', async () => {
    const register = world.replica();
    const revocationId = await addGathered(12_000, 0);
    const left = async () => {
      const { rows } = await world.database.pool.query<{ leases: number; rows: number }>(
        `SELECT (SELECT count(*)::integer FROM revocation.revocation_leases) AS leases, count(*)::integer AS rows
         FROM revocation.revocations WHERE revocation_id = $1`,
        [revocationId],
      );
      return rows[0];
    };
    expect(await register.gatherer.prune()).toBe(false);
    await world.database.pool.query(
      `UPDATE revocation.revocations SET done_at = now() - interval '31 days', due_at = NULL`,
    );
    expect(await register.gatherer.prune()).toBe(true);
    expect(await left()).toEqual({ leases: 7_000, rows: 1 });
    expect(await register.gatherer.prune()).toBe(true);
    expect(await left()).toEqual({ leases: 2_000, rows: 1 });
    expect(await register.gatherer.prune()).toBe(true);
    expect(await left()).toEqual({ leases: 0, rows: 0 });
    expect(await register.gatherer.prune()).toBe(false);
  });

  it('is forgotten some time after it is done, and not before', async () => {
    const register = world.replica();
    register.start();
    await addLeases(world, user, 2);
    const ask = asker(world, register);
    const { revocation_id } = await ask.revoke({ kind: 'user', id: user });
    await until(async () => (await ask.get(revocation_id)).revocation.done_at !== undefined);
    await world.database.pool.query(`UPDATE revocation.revocations SET done_at = now() - interval '31 days'`);
    const pruning = world.replica();
    pruning.start();
    await until(async () => (await codeOf(ask.get(revocation_id))) === 'not_found');
    const { rowCount } = await world.database.pool.query('SELECT FROM revocation.revocation_leases');
    expect(rowCount).toBe(0);
  });
});
