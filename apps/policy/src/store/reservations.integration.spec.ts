import { randomBytes } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { v7 as uuidv7 } from 'uuid';
import { freshDatabase, type FreshDatabase } from '../spec-support/fresh-database.ts';
import { lockConfigVersions } from './config-versions.ts';
import { pruneReservations, recordLeaseNews, reserveLease, type LeaseReservation } from './reservations.ts';
import { reserveSuccessor } from './renewable-leases.ts';
import {
  closeSession,
  expireDueSessions,
  findLiveSession,
  insertSession,
  pruneSessions,
} from './sessions.ts';

let database: FreshDatabase;
beforeAll(async () => {
  database = await freshDatabase();
});
afterAll(async () => {
  await database.drop();
});

async function openSession(organization = 'acme', ttlSeconds = 600): Promise<string> {
  const id = uuidv7();
  await insertSession(database.pool, {
    id,
    organization,
    agentId: `spiffe://${organization}.example/agent/ci/build/1`,
    kind: 'agent',
    agentRole: 'analyst',
    personRoles: [],
    trustRule: 'agents',
    ttlSeconds,
    configVersion: 1,
    identitySha256: randomBytes(32),
    mostOfIdentity: 1,
  });
  return id;
}

function wanted(sessionId: string, more: Partial<LeaseReservation> = {}): LeaseReservation {
  return {
    leaseId: uuidv7(),
    sessionId,
    organization: 'acme',
    credential: 'db/read',
    configVersion: 1,
    limits: {},
    grantSeconds: 30,
    holdSeconds: 90,
    ...more,
  };
}

const reserve = (reservation: LeaseReservation) => reserveLease(database.pool, reservation);
const told = (leaseId: string, issued: boolean, ended: boolean) =>
  recordLeaseNews(database.pool, [{ leaseId, issued, ended }]);

/** As if the hold or the grant of a reservation had run out. */
async function age(leaseId: string, seconds: number): Promise<void> {
  await database.pool.query(
    `UPDATE policy.reservations SET held_until = held_until - make_interval(secs => $2),
       grant_expires_at = grant_expires_at - make_interval(secs => $2),
       ended_at = ended_at - make_interval(secs => $2) WHERE lease_id = $1`,
    [leaseId, seconds],
  );
}

describe('limits', () => {
  it('of three per session let exactly three of twenty simultaneous requests through', async () => {
    const session = await openSession();
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, () => reserve(wanted(session, { limits: { perSession: 3 } }))),
    );
    const names = outcomes.map(({ outcome }) => outcome);
    expect(names.filter((name) => name === 'reserved')).toHaveLength(3);
    expect(names.filter((name) => name === 'limit_per_session')).toHaveLength(17);
  });

  it('of three concurrent leases hold over all sessions of an organization at once', async () => {
    const sessions = await Promise.all(Array.from({ length: 20 }, () => openSession()));
    const credential = 'db/concurrent';
    const limits = { concurrent: 3, perSession: 2 };
    const outcomes = await Promise.all(sessions.map((id) => reserve(wanted(id, { credential, limits }))));
    expect(outcomes.filter(({ outcome }) => outcome === 'reserved')).toHaveLength(3);
    const elsewhere = await openSession('globex');
    const other = await reserve(wanted(elsewhere, { organization: 'globex', credential, limits }));
    expect(other.outcome).toBe('reserved');
  });

  it('count each credential of a session by itself', async () => {
    const session = await openSession();
    const limits = { perSession: 1 };
    expect((await reserve(wanted(session, { limits }))).outcome).toBe('reserved');
    expect((await reserve(wanted(session, { limits, credential: 'db/write' }))).outcome).toBe('reserved');
    expect((await reserve(wanted(session, { limits }))).outcome).toBe('limit_per_session');
  });

  it('count an issued lease until it has ended, however long that takes', async () => {
    const session = await openSession();
    const first = wanted(session, { limits: { perSession: 1 } });
    await reserve(first);
    await told(first.leaseId, true, false);
    await age(first.leaseId, 10_000);
    expect((await reserve(wanted(session, { limits: { perSession: 1 } }))).outcome).toBe('limit_per_session');
    await told(first.leaseId, false, true);
    expect((await reserve(wanted(session, { limits: { perSession: 1 } }))).outcome).toBe('reserved');
  });

  it('forget a reservation of which nothing is heard once its time is over', async () => {
    const session = await openSession();
    const first = wanted(session, { limits: { perSession: 1 } });
    await reserve(first);
    await age(first.leaseId, 119);
    expect((await reserve(wanted(session, { limits: { perSession: 1 } }))).outcome).toBe('limit_per_session');
    await age(first.leaseId, 2);
    expect((await reserve(wanted(session, { limits: { perSession: 1 } }))).outcome).toBe('reserved');
  });
});

describe('a reservation that is not committed yet', () => {
  const idempotency = { key: 'k', bodySha256: 'a'.repeat(64) };

  it.each([
    ['a limit per session', { limits: { perSession: 1 } }, 'limit_per_session'],
    ['a limit of concurrent leases', { limits: { concurrent: 1 }, credential: 'db/one' }, 'limit_concurrent'],
    ['an Idempotency-Key', { idempotency }, 'still_running'],
  ] as const)('makes whoever asks under %s wait for it', async (_what, more, outcome) => {
    const session = await openSession();
    // Another session shares only the limit of concurrent leases.
    const rival = outcome === 'limit_concurrent' ? await openSession() : session;
    const first = await database.pool.connect();
    try {
      await first.query('BEGIN');
      expect((await reserveLease(first, wanted(session, more))).outcome).toBe('reserved');
      let settled = false;
      const second = reserve(wanted(rival, more)).finally(() => {
        settled = true;
      });
      while (!settled && !(await someoneWaitsForALock())) await nextTurn();
      await first.query('COMMIT');
      expect((await second).outcome).toBe(outcome);
    } finally {
      first.release();
    }
  });

  it('makes nobody wait where nothing is to be counted', async () => {
    const session = await openSession();
    const first = await database.pool.connect();
    try {
      await first.query('BEGIN');
      await reserveLease(first, wanted(session, { limits: { perSession: 5, concurrent: 5 } }));
      expect((await reserve(wanted(session))).outcome).toBe('reserved');
    } finally {
      await first.query('ROLLBACK');
      first.release();
    }
  });

  it('waits for whoever stores a configuration, and not for long when that process is paused', async () => {
    const session = await openSession();
    const paused = await database.pool.connect();
    const failed = new Promise<Error>((resolve) => paused.on('error', resolve));
    await paused.query('BEGIN');
    await lockConfigVersions(paused);
    expect((await reserve(wanted(session))).outcome).toBe('reserved');
    expect(await failed).toMatchObject({ code: '25P03' });
    paused.release(true);
  });

  async function someoneWaitsForALock(): Promise<boolean> {
    const { rowCount } = await database.pool.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    return (rowCount ?? 0) > 0;
  }
});

describe('news of leases', () => {
  it('may come twice, in any order, and about unknown leases; an end stays an end', async () => {
    const session = await openSession();
    const first = wanted(session, { limits: { perSession: 1 } });
    await reserve(first);
    await recordLeaseNews(database.pool, [
      { leaseId: first.leaseId, issued: false, ended: true },
      { leaseId: uuidv7(), issued: true, ended: true },
    ]);
    await told(first.leaseId, true, false);
    expect((await reserve(wanted(session, { limits: { perSession: 1 } }))).outcome).toBe('reserved');
    await told(first.leaseId, true, true);
    expect((await reserve(wanted(session, { limits: { perSession: 1 } }))).outcome).toBe('limit_per_session');
  });

  it('of a lease that has a successor may come again: the two take one place, and an end stays an end', async () => {
    const session = await openSession();
    const limits = { perSession: 2 };
    const old = wanted(session, { limits, renewable: { ttlSeconds: 60, scope: {} } });
    await reserve(old);
    await told(old.leaseId, true, false);
    const successorId = uuidv7();
    await reserveSuccessor(database.pool, {
      leaseId: successorId,
      predecessorId: old.leaseId,
      organization: 'acme',
      sessionId: session,
      decidedAt: new Date(),
      configVersion: 1,
      grantSeconds: 30,
      holdSeconds: 90,
    });
    await recordLeaseNews(database.pool, [{ leaseId: successorId, issued: true, ended: false }]);
    await told(old.leaseId, true, false);
    // One place is left, as before.
    const other = wanted(session, { limits });
    expect((await reserve(other)).outcome).toBe('reserved');
    expect((await reserve(wanted(session, { limits }))).outcome).toBe('limit_per_session');
    await told(old.leaseId, false, true);
    const { rows } = await database.pool.query(
      'SELECT FROM policy.reservations WHERE lease_id = $1 AND ended_at IS NOT NULL',
      [old.leaseId],
    );
    expect(rows).toHaveLength(1);
  });
});

describe('sessions', () => {
  it('that were closed, have expired, are unknown or belong to another organization reserve nothing', async () => {
    const closed = await openSession();
    expect(await closeSession(database.pool, closed)).toMatchObject({
      closed: true,
      session: { id: closed },
    });
    expect(await closeSession(database.pool, closed)).toMatchObject({ closed: false });
    const expired = await openSession('acme', 600);
    await expire(expired);
    const foreign = await openSession('globex');
    for (const id of [closed, expired, foreign, uuidv7()]) {
      expect(await reserve(wanted(id))).toEqual({ outcome: 'session_ended' });
      expect(await reserve(wanted(id, { limits: { perSession: 3 } }))).toEqual({ outcome: 'session_ended' });
    }
  });

  it('whose time has come are marked once, by whoever sweeps first, and are forgotten a day later', async () => {
    await Promise.all(Array.from({ length: 5 }, () => openSession().then(expire)));
    const sweeps = await Promise.all([1, 2, 3].map(() => expireDueSessions(database.pool, 100)));
    const ids = sweeps.flat().map(({ id }) => id);
    expect(ids.length).toBeGreaterThanOrEqual(5);
    expect(new Set(ids).size).toBe(ids.length);
    const [first] = ids;
    expect(first !== undefined && (await findLiveSession(database.pool, first))).toBeUndefined();
    await database.pool.query(
      `UPDATE policy.sessions SET ended_at = ended_at - interval '25 hours' WHERE id = ANY($1)`,
      [ids],
    );
    expect(await pruneSessions(database.pool, 1000)).toBe(ids.length);
  });

  async function expire(id: string): Promise<void> {
    await database.pool.query(
      `UPDATE policy.sessions SET opened_at = opened_at - interval '1 hour', expires_at = expires_at - interval '1 hour'
       WHERE id = $1`,
      [id],
    );
  }
});

describe('a repeated Idempotency-Key', () => {
  const body = 'a'.repeat(64);
  const idempotency = { key: 'k', bodySha256: body };

  it('is refused while the first is under way, and for another body whatever became of the first', async () => {
    const session = await openSession();
    const first = wanted(session, { idempotency });
    expect((await reserve(first)).outcome).toBe('reserved');
    expect((await reserve(wanted(session, { idempotency }))).outcome).toBe('still_running');
    const otherBody = { key: 'k', bodySha256: 'b'.repeat(64) };
    expect((await reserve(wanted(session, { idempotency: otherBody }))).outcome).toBe('other_body');
    await told(first.leaseId, false, true);
    expect((await reserve(wanted(session, { idempotency: otherBody }))).outcome).toBe('other_body');
  });

  it('supersedes a live lease, also at the limit, and only the latest of several', async () => {
    const session = await openSession();
    const limits = { perSession: 1 };
    const first = wanted(session, { idempotency, limits });
    await reserve(first);
    await told(first.leaseId, true, false);
    const second = wanted(session, { idempotency, limits });
    expect(await reserve(second)).toMatchObject({ outcome: 'reserved', supersededLeaseId: first.leaseId });
    await told(second.leaseId, true, false);
    expect((await reserve(wanted(session, { idempotency, limits }))).outcome).toBe('limit_per_session');
    await told(first.leaseId, false, true);
    expect(await reserve(wanted(session, { idempotency, limits }))).toMatchObject({
      supersededLeaseId: second.leaseId,
    });
  });

  it('supersedes a first whose grant ran out unheard of, and mints anew after one that ended', async () => {
    const session = await openSession();
    const first = wanted(session, { idempotency });
    await reserve(first);
    await age(first.leaseId, 31);
    const second = wanted(session, { idempotency });
    expect(await reserve(second)).toMatchObject({ supersededLeaseId: first.leaseId });
    await told(second.leaseId, false, true);
    const third = await reserve(wanted(session, { idempotency }));
    expect(third.outcome).toBe('reserved');
    expect(third).not.toHaveProperty('supersededLeaseId');
  });

  it('means nothing in another session', async () => {
    await reserve(wanted(await openSession(), { idempotency }));
    expect((await reserve(wanted(await openSession(), { idempotency }))).outcome).toBe('reserved');
  });

  it('lets just one of ten simultaneous requests through', async () => {
    const session = await openSession();
    const outcomes = await Promise.all(
      Array.from({ length: 10 }, () => reserve(wanted(session, { idempotency }))),
    );
    expect(outcomes.filter(({ outcome }) => outcome === 'reserved')).toHaveLength(1);
    expect(outcomes.filter(({ outcome }) => outcome === 'still_running')).toHaveLength(9);
  });
});

describe('pruning', () => {
  it('forgets what ended over two hours ago, and keeps what may still work', async () => {
    const session = await openSession();
    const [ended, live, silent] = [wanted(session), wanted(session), wanted(session)];
    for (const reservation of [ended, live, silent]) await reserve(reservation);
    await told(ended.leaseId, true, true);
    await told(live.leaseId, true, false);
    await age(ended.leaseId, 7_300);
    await age(silent.leaseId, 3_900);
    await pruneReservations(database.pool, 1000);
    const { rows } = await database.pool.query<{ lease_id: string; ended: boolean }>(
      'SELECT lease_id, ended_at IS NOT NULL AS ended FROM policy.reservations WHERE session_id = $1 ORDER BY lease_id',
      [session],
    );
    expect(rows).toEqual([
      { lease_id: live.leaseId, ended: false },
      { lease_id: silent.leaseId, ended: true },
    ]);
  });
});
