/** What can't be called back holds its place until it stops working; and a successor is reserved by the newest configuration. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { newEvent } from '@mayfly/messaging';
import { v7 as uuidv7 } from 'uuid';
import { leaseNewsOf } from '../decisions/lease-news.ts';
import { freshDatabase, type FreshDatabase } from '../spec-support/fresh-database.ts';
import { reserveSuccessor } from './renewable-leases.ts';
import { recordLeaseNews, reserveLease } from './reservations.ts';
import { insertSession } from './sessions.ts';

let database: FreshDatabase;
beforeAll(async () => {
  database = await freshDatabase();
});
afterAll(() => database.drop());

const open = async () => {
  const id = uuidv7();
  await insertSession(database.pool, {
    id,
    organization: 'acme',
    agentId: 'spiffe://acme.example/agent/ci/build/1',
    kind: 'agent',
    personRoles: [],
    trustRule: 'agents',
    ttlSeconds: 600,
    configVersion: 1,
    identitySha256: randomBytes(32),
    mostOfIdentity: 1,
  });
  return id;
};

const reserve = async (
  sessionId: string,
  credential: string,
  limits: { perSession?: number; concurrent?: number },
  more: { idempotency?: { key: string; bodySha256: string } } = {},
) => {
  const leaseId = uuidv7();
  const { outcome } = await reserveLease(database.pool, {
    leaseId,
    sessionId,
    organization: 'acme',
    credential,
    configVersion: 1,
    limits,
    grantSeconds: 30,
    holdSeconds: 90,
    renewable: { ttlSeconds: 60, scope: {} },
    ...more,
  });
  return { leaseId, outcome };
};

const hear = (
  type: 'credential.issued' | 'credential.revoked' | 'credential.orphaned',
  leaseId: string,
  worksForMs: number,
) =>
  recordLeaseNews(
    database.pool,
    leaseNewsOf([
      newEvent('revocation', type, {
        lease_id: leaseId,
        revocability: { kind: 'expiry_only' },
        native_expires_at: new Date(Date.now() + worksForMs).toISOString(),
      }),
    ]),
  );

describe('a lease that can’t be called back', () => {
  it.each([
    ['per session', { perSession: 1 }, 'limit_per_session'],
    ['of all sessions', { concurrent: 1 }, 'limit_concurrent'],
  ] as const)(
    'holds its place after its end while its secret works: limit %s',
    async (_, limits, refused) => {
      const credential = `jwt/${uuidv7()}`;
      const session = await open();
      const first = await reserve(session, credential, limits);
      await hear('credential.issued', first.leaseId, 60_000);
      await hear('credential.revoked', first.leaseId, 60_000);
      expect((await reserve(session, credential, limits)).outcome).toBe(refused);
      // An end that is told again, or only then, changes nothing.
      await recordLeaseNews(database.pool, [{ leaseId: first.leaseId, issued: false, ended: true }]);
      expect((await reserve(session, credential, limits)).outcome).toBe(refused);
    },
  );

  it('frees its place when its secret has stopped working', async () => {
    const credential = `jwt/${uuidv7()}`;
    const session = await open();
    const { leaseId } = await reserve(session, credential, { perSession: 1, concurrent: 1 });
    await hear('credential.revoked', leaseId, -1_000);
    expect((await reserve(session, credential, { perSession: 1, concurrent: 1 })).outcome).toBe('reserved');
  });

  it('that never released its secret frees its place at once', async () => {
    const credential = `jwt/${uuidv7()}`;
    const session = await open();
    const { leaseId } = await reserve(session, credential, { perSession: 1 });
    await hear('credential.orphaned', leaseId, 60_000);
    expect((await reserve(session, credential, { perSession: 1 })).outcome).toBe('reserved');
  });

  it('is not made many by repeating an Idempotency-Key after its end', async () => {
    const credential = `jwt/${uuidv7()}`;
    const session = await open();
    const more = { idempotency: { key: 'k', bodySha256: 'a'.repeat(64) } };
    const { leaseId } = await reserve(session, credential, { perSession: 1 }, more);
    await hear('credential.revoked', leaseId, 60_000);
    expect((await reserve(session, credential, { perSession: 1 }, more)).outcome).toBe('limit_per_session');
  });
});

describe('a successor', () => {
  it('is not reserved by a configuration that a newer one has replaced', async () => {
    const credential = `jwt/${uuidv7()}`;
    const session = await open();
    const { leaseId } = await reserve(session, credential, {});
    await hear('credential.issued', leaseId, 60_000);
    await database.pool.query(
      `INSERT INTO policy.config_versions (version, document, sha256, applied_at, applied_by)
       VALUES (7, 'x', 'x', now(), 'x')`,
    );
    const succeed = (configVersion: number) =>
      reserveSuccessor(database.pool, {
        leaseId: uuidv7(),
        predecessorId: leaseId,
        organization: 'acme',
        sessionId: session,
        decidedAt: new Date(),
        configVersion,
        grantSeconds: 30,
        holdSeconds: 90,
      });
    expect(await succeed(6)).toEqual({ outcome: 'outdated_configuration' });
    expect(await succeed(7)).toEqual({ outcome: 'reserved' });
  });
});
