/**
 * Limits, compared step by step with a model of them: mints, renewals by rotation, give-backs, revocations, expiries, mints that
 * fail, and their events in any order, late and twice, as a crash of policy or of a relay makes them.
 */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { v7 as uuidv7 } from 'uuid';
import { leaseNewsOf } from '../decisions/lease-news.ts';
import { freshDatabase, type FreshDatabase } from '../spec-support/fresh-database.ts';
import { LimitsModel, type ModelLease } from '../spec-support/limits-model.ts';
import { recordLeaseNews, reserveLease } from './reservations.ts';
import { reserveSuccessor } from './renewable-leases.ts';
import { insertSession } from './sessions.ts';

let database: FreshDatabase;
beforeAll(async () => {
  database = await freshDatabase();
});
afterAll(async () => {
  await database.drop();
});

/** `which` picks one of what is there; so a step of a shrunk run still does something. */
const which = fc.nat({ max: 1_000 });
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ does: fc.constant('mint' as const), which, key: fc.boolean() }) },
  { weight: 5, arbitrary: fc.record({ does: fc.constant('renew' as const), which }) },
  {
    weight: 10,
    arbitrary: fc.record({
      does: fc.constantFrom(
        ...(['activate', 'activate', 'activate', 'activate', 'activate', 'activate'] as const),
        ...(['give back', 'give back', 'expire', 'fail', 'orphan', 'lapse'] as const),
      ),
      which,
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ does: fc.constant('hear' as const), events: fc.array(which, { maxLength: 6 }) }),
  },
  { weight: 2, arbitrary: fc.record({ does: fc.constantFrom('hear all', 'hear all again, backwards') }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
type Fate = 'activate' | 'give back' | 'expire' | 'fail' | 'orphan' | 'lapse';

const limits = fc.record({
  perSession: fc.integer({ min: 1, max: 2 }),
  concurrent: fc.integer({ min: 1, max: 3 }),
});

/** One run: sessions and a credential of its own in the one database, and the model beside them. */
class Run {
  readonly model: LimitsModel;
  readonly #credential = `db/${uuidv7()}`;
  readonly #sessions: string[] = [];

  constructor(private readonly limits: { perSession: number; concurrent: number }) {
    this.model = new LimitsModel(limits);
  }

  async open(): Promise<void> {
    for (const task of ['1', '2']) {
      const id = uuidv7();
      await insertSession(database.pool, {
        id,
        organization: 'acme',
        agentId: `spiffe://acme.example/agent/ci/build/${task}`,
        kind: 'agent',
        personRoles: [],
        trustRule: 'agents',
        ttlSeconds: 3_600,
        configVersion: 1,
        identitySha256: randomBytes(32),
        mostOfIdentity: 1,
      });
      this.#sessions.push(id);
    }
  }

  async take(taken: Step): Promise<void> {
    const { model } = this;
    switch (taken.does) {
      case 'mint':
        return this.#mint(this.#sessions[taken.which % 2] ?? '', taken.key ? 'key' : undefined);
      case 'renew':
        return this.#renew(pick(model.leases, taken.which));
      case 'hear':
        return this.#hear(taken.events.flatMap((index) => pick(model.published, index) ?? []));
      case 'hear all':
        return this.#hear(model.published);
      case 'hear all again, backwards':
        for (const event of model.published.toReversed()) await this.#hear([event]);
        return;
      default:
        return this.#end(taken);
    }
  }

  /** What becomes of a grant that was not redeemed yet, or of a lease that works. */
  async #end(taken: Extract<Step, { does: Fate }>): Promise<void> {
    const { model } = this;
    const pickOf = (truth: ModelLease['truth']) =>
      pick(
        model.leases.filter((lease) => lease.truth === truth),
        taken.which,
      );
    const granted = pickOf('granted');
    const active = pickOf('active');
    if (taken.does === 'activate' && granted) model.activate(granted);
    if (taken.does === 'fail' && granted) model.fail(granted, 'credential.failed');
    if (taken.does === 'orphan' && granted) model.fail(granted, 'credential.orphaned');
    if (taken.does === 'lapse' && granted) await this.#lapse(granted);
    if (taken.does === 'give back' && active) model.end(active, 'credential.revoked');
    if (taken.does === 'expire' && active) model.end(active, 'credential.expired');
  }

  async #mint(session: string, key: string | undefined): Promise<void> {
    const expected = this.model.expectMint(session, key);
    const id = uuidv7();
    const answer = await reserveLease(database.pool, this.#reservation(id, session, key));
    expect(answer.outcome).toBe(expected.outcome);
    if (answer.outcome !== 'reserved') return;
    expect(answer.supersededLeaseId).toBe(expected.superseded?.id);
    this.model.add({ id, session, key, predecessor: undefined, supersedes: expected.superseded });
  }

  #reservation(leaseId: string, sessionId: string, key?: string) {
    return {
      leaseId,
      sessionId,
      organization: 'acme',
      credential: this.#credential,
      configVersion: 1,
      limits: this.limits,
      grantSeconds: 30,
      holdSeconds: 90,
      renewable: { ttlSeconds: 60, scope: {} },
      ...(key !== undefined && { idempotency: { key, bodySha256: 'a'.repeat(64) } }),
    };
  }

  async #renew(lease: ModelLease | undefined): Promise<void> {
    if (lease === undefined) return;
    const expected = this.model.expectRenewal(lease);
    const id = uuidv7();
    const { outcome } = await reserveSuccessor(database.pool, {
      leaseId: id,
      predecessorId: lease.id,
      organization: 'acme',
      sessionId: lease.session,
      decidedAt: new Date(),
      configVersion: 1,
      grantSeconds: 30,
      holdSeconds: 90,
    });
    expect(outcome).toBe(expected);
    if (outcome !== 'reserved') return;
    this.model.add({ id, session: lease.session, key: undefined, predecessor: lease, supersedes: undefined });
  }

  async #hear(events: LimitsModel['published']): Promise<void> {
    if (events.length === 0) return;
    await recordLeaseNews(database.pool, leaseNewsOf(events));
    this.model.hear(events);
  }

  /** Time passes for one grant that was never redeemed: neither it nor its hold is good for anything any more. */
  async #lapse(lease: ModelLease): Promise<void> {
    await database.pool.query(
      `UPDATE policy.reservations SET held_until = held_until - interval '1 hour',
         grant_expires_at = grant_expires_at - interval '1 hour' WHERE lease_id = $1`,
      [lease.id],
    );
    lease.isLapsed = true;
  }

  /** What must be true of the leases that work, whatever policy has heard. */
  check(): void {
    const chains = this.model.livingChains();
    expect(chains.length).toBeLessThanOrEqual(this.limits.concurrent);
    for (const session of this.#sessions) {
      const own = chains.filter(([lease]) => lease?.session === session);
      expect(own.length).toBeLessThanOrEqual(this.limits.perSession);
    }
    for (const chain of chains) expect(chain.length).toBeLessThanOrEqual(2);
  }

  /** Once all is told, a place is taken by what lives and by nothing else. */
  async settle(): Promise<void> {
    const { model } = this;
    for (const lease of model.leases) {
      model.fail(lease, 'credential.orphaned');
      if (lease.isSuperseded) model.end(lease, 'credential.revoked');
    }
    await this.#hear(model.published);
    const chains = model.livingChains();
    for (const session of this.#sessions) {
      const own = chains.filter(([lease]) => lease?.session === session);
      const isFree = own.length < this.limits.perSession && chains.length < this.limits.concurrent;
      expect((await this.#wouldReserve(session)) === 'reserved').toBe(isFree);
    }
  }

  async #wouldReserve(session: string): Promise<string> {
    const client = await database.pool.connect();
    try {
      await client.query('BEGIN');
      return (await reserveLease(client, this.#reservation(uuidv7(), session))).outcome;
    } finally {
      await client.query('ROLLBACK');
      client.release();
    }
  }
}

function pick<T>(from: readonly T[], index: number): T | undefined {
  return from[index % Math.max(1, from.length)];
}

describe('limits', () => {
  it('hold over mints, renewals, ends and crashes, with events in any order, late and twice', async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(limits, fc.array(step, { minLength: 10, maxLength: 40 }), async (bounds, steps) => {
        const run = new Run(bounds);
        await run.open();
        for (const taken of steps) {
          await run.take(taken);
          run.check();
        }
        if (run.model.livingChains().some(({ length }) => length === 2)) seen.add('two of a chain');
        if (run.model.leases.some(({ predecessor }) => predecessor?.predecessor?.wasActive))
          seen.add('three links');
        if (run.model.leases.some(({ isSuperseded }) => isSuperseded)) seen.add('superseded');
        await run.settle();
      }),
      { numRuns: 400 },
    );
    // The property says something only where all of these happen.
    expect([...seen].sort()).toEqual(['superseded', 'three links', 'two of a chain']);
  }, 120_000);
});
