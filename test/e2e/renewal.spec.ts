/** Renewal with the real parts: an open database session lives on, and is cut at the new end. */
import { describe, expect, it } from '@jest/globals';
import { Refused, waitUntil } from '@mayfly/stack';
import { openSession, wholeStack } from '@mayfly/testing';
import pg from 'pg';

const stack = wholeStack();
const within = { deadlineMs: 20_000 };

const codeOf = (attempt: Promise<unknown>) =>
  attempt.then(
    () => 'ok',
    (error: unknown) => (error instanceof Refused ? error.problem.code : String(error)),
  );

const lifecycle = async (leaseId: string) => {
  const client = new pg.Client({ connectionString: stack.auditorUrl });
  await client.connect();
  const { rows } = await client.query<Record<string, unknown>>(
    'SELECT * FROM audit.credential_lifecycle WHERE lease_id = $1',
    [leaseId],
  );
  await client.end();
  return rows[0];
};

describe('a lease that is renewed in place', () => {
  it('keeps its password and its open sessions, and loses both at the new end', async () => {
    const agent = await openSession(stack);
    const lease = await agent.postgresLease('orders-db/renewable', { ttl_seconds: 2 });
    expect(lease).toMatchObject({ renewable: true, renewal: { kind: 'in_place', max_count: 3 } });
    const open = new pg.Client({ connectionString: lease.secret.url });
    let cut = 0;
    const noteCut = () => (cut ||= Date.now());
    open.on('error', noteCut).on('end', noteCut);
    await open.connect();

    const renewed = await agent.renew(lease.lease_id, { ttl_seconds: 5 });
    expect(renewed).toMatchObject({ lease_id: lease.lease_id, renewals: 1, trace_id: lease.trace_id });
    expect(renewed.secret ?? renewed.sealed).toBeUndefined();
    expect(Date.parse(renewed.expires_at) - Date.parse(lease.expires_at)).toBeGreaterThan(2_000);

    const oldEnd = Date.parse(lease.expires_at);
    await waitUntil('the old end to be well over', () => Date.now() > oldEnd + 1_000, within);
    expect((await open.query('SELECT count(*) FROM orders')).rowCount).toBe(1);
    const another = new pg.Client({ connectionString: lease.secret.url });
    await another.connect();
    await another.end();

    await waitUntil('cutting the session', () => cut > 0, within);
    const late = cut - Date.parse(renewed.expires_at);
    expect(late).toBeGreaterThan(-1_000);
    expect(late).toBeLessThan(3_000);
    await waitUntil(
      'recording the end',
      async () => (await lifecycle(lease.lease_id))?.['ended_at'] !== null,
      within,
    );
    expect(await lifecycle(lease.lease_id)).toMatchObject({
      renewals: 1,
      expires_at: new Date(renewed.expires_at),
      how_ended: 'expired',
      last_renewed_at: expect.any(Date),
    });
    expect(await codeOf(agent.renew(lease.lease_id))).toBe('lease_ended');
  });

  it('keeps its place within the limits, and no more than that', async () => {
    const agent = await openSession(stack);
    const lease = await agent.postgresLease('orders-db/renewable', { ttl_seconds: 30 });
    await agent.renew(lease.lease_id, { ttl_seconds: 60 });
    expect(await codeOf(agent.lease('orders-db/renewable'))).toBe('limit_exceeded');
    await agent.giveBack(lease.lease_id);
    expect(await codeOf(agent.renew(lease.lease_id))).toBe('lease_ended');
  });

  it('is renewed as often as it may be, as long as it may be, and no further', async () => {
    const agent = await openSession(stack);
    const lease = await agent.postgresLease('orders-db/renewable', { ttl_seconds: 60 });
    expect(await codeOf(agent.renew(lease.lease_id, { ttl_seconds: 901 }))).toBe('ttl_exceeded');
    expect(await codeOf(agent.renew(lease.lease_id, { ttl_seconds: 5 }))).toBe('ttl_exceeded');
    const last = await agent.renew(lease.lease_id, { ttl_seconds: 900 });
    // A moment of its life is over, so a quarter of an hour from now is past its maximum life.
    expect(last.ttl_adjusted).toEqual({
      requested_seconds: 900,
      reason: 'it reaches its maximum life before',
    });
    expect(Date.parse(last.expires_at) - Date.parse(last.issued_at)).toBeLessThanOrEqual(900_000);
    expect(await codeOf(agent.renew(lease.lease_id, { ttl_seconds: 900 }))).toBe('ttl_exceeded');
    const other = await openSession(stack);
    const often = await other.postgresLease('orders-db/renewable', { ttl_seconds: 60 });
    for (const ttl_seconds of [120, 180, 240]) await other.renew(often.lease_id, { ttl_seconds });
    expect(await codeOf(other.renew(often.lease_id, { ttl_seconds: 300 }))).toBe('policy_denied');
    await agent.giveBack(lease.lease_id);
    await other.giveBack(often.lease_id);
  });

  it('is renewed by nobody else, and only where the credential allows it', async () => {
    const agent = await openSession(stack);
    const lease = await agent.postgresLease('orders-db/renewable', { ttl_seconds: 30 });
    const stranger = await openSession(stack);
    expect(await codeOf(stranger.renew(lease.lease_id))).toBe('not_found');
    await agent.giveBack(lease.lease_id);
    const fixed = await agent.postgresLease('orders-db/readonly', { ttl_seconds: 30 });
    expect(fixed.renewable).toBe(false);
    expect(await codeOf(agent.renew(fixed.lease_id))).toBe('policy_denied');
    await agent.giveBack(fixed.lease_id);
  });
});

describe('a lease that is renewed by rotation', () => {
  it('gets a successor with a secret of its own, and ends after the grace', async () => {
    const agent = await openSession(stack);
    const lease = await agent.lease('reports-api/rotating', { ttl_seconds: 60 });
    expect(lease.renewal).toMatchObject({ kind: 'rotation', grace_seconds: 2 });
    const successor = await agent.renew(lease.lease_id, { ttl_seconds: 60 });
    expect(successor).toMatchObject({ predecessor_id: lease.lease_id, renewals: 1, provider: 'jwt' });
    expect(successor.lease_id).not.toBe(lease.lease_id);
    expect(successor.sealed).toBeDefined();
    // One place for the two.
    expect(await codeOf(agent.lease('reports-api/rotating'))).toBe('limit_exceeded');
    expect(await codeOf(agent.renew(lease.lease_id))).toBe('conflict');
    await waitUntil(
      'the old one to end',
      async () => (await lifecycle(lease.lease_id))?.['how_ended'] === 'expired',
      within,
    );
    expect(await lifecycle(lease.lease_id)).toMatchObject({
      successor_id: successor.lease_id,
      end_reason: 'rotated',
    });
    expect(await lifecycle(successor.lease_id)).toMatchObject({
      predecessor_id: lease.lease_id,
      renewals: 1,
      ended_at: null,
    });
    expect((await agent.leases()).map(({ lease_id }) => lease_id)).toEqual([successor.lease_id]);
    const last = await agent.renew(successor.lease_id, { ttl_seconds: 60 });
    expect(last).toMatchObject({ predecessor_id: successor.lease_id, renewals: 2 });
    expect(await codeOf(agent.renew(last.lease_id))).toBe('policy_denied');
    await agent.giveBack(last.lease_id);
  });
});
