/** From what leases leave upstream to the limit of their orchestration, over all services. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { LeaseView } from '@mayfly/contracts';
import type { PostgresSecret } from '@mayfly/domain';
import { Refused, waitUntil, type AgentApi, type OpenedLease } from '@mayfly/stack';
import { agentClaims, openSession, personClaims, startWholeStack, type TestStack } from '@mayfly/testing';
import pg from 'pg';

const within = { deadlineMs: 30_000 };

describe('leases that ended and can not be cleaned up after', () => {
  let stack: TestStack;
  let administrator: AgentApi;
  /** In whose open transaction the roles of the leases are locked. */
  let superuser: pg.Client;
  const left: OpenedLease<PostgresSecret>[] = [];

  beforeAll(async () => {
    stack = await startWholeStack({
      env: {
        policy: { MAYFLY_FAILING_CLEANUPS_PER_ORCHESTRATION: '2' },
        revocation: { MAYFLY_RETRY_FIRST_MS: '100', MAYFLY_RETRY_LONGEST_MS: '300' },
      },
    });
    const orders = new URL(stack.postgres.adminUrl);
    orders.pathname = new URL(stack.ordersAdminUrl).pathname;
    superuser = new pg.Client({ connectionString: orders.href });
    await superuser.connect();
    administrator = await openSession(stack, personClaims(['administrators']));
    const agent = await openSession(stack, agentClaims({ orchestration: 'litter' }));
    for (let index = 0; index < 2; index++) left.push(await agent.postgresLease('orders-db/readonly'));
    await superuser.query('BEGIN');
    await superuser.query('SELECT lo_create(4711)');
    for (const { secret } of left)
      await superuser.query(`GRANT SELECT ON LARGE OBJECT 4711 TO ${pg.escapeIdentifier(secret.username)}`);
    for (const { lease_id } of left) expect((await agent.giveBack(lease_id)).outcome).toBe('revoked');
  }, 120_000);

  afterAll(async () => {
    await superuser.end();
    await stack.stop();
  });

  const ask = async (orchestration: string, credential: string) => {
    const agent = await openSession(stack, agentClaims({ orchestration }));
    const answer = await agent.lease(credential).catch((error: unknown) => error);
    return answer instanceof Refused ? answer.problem : 'issued';
  };
  const failing = async () =>
    ((await administrator.call('GET', '/v1/leases?state=failing')) as { leases: LeaseView[] }).leases;
  const metrics = async () => (await fetch(`${stack.services.revocation.url}/metrics`)).text();

  it('are shown as ended, with nothing that works', async () => {
    await waitUntil('their refusal', async () => (await failing()).length === 2, within);
    await waitUntil(
      'an attempt',
      async () => (await failing()).every(({ failing }) => failing?.last_error === 'provider_rejected'),
      within,
    );
    for (const lease of await failing())
      expect(lease).toMatchObject({ state: 'revoked', cleanup: 'pending' });
    expect(await metrics()).toMatch(/mayfly_failing_leases\{work="end".*\} 0/);
    expect(await metrics()).toMatch(/mayfly_failing_leases\{work="cleanup".*\} 2/);
    expect(await metrics()).toMatch(/mayfly_pending_cleanups\{.*\} 2/);
    for (const { secret } of left) {
      const client = new pg.Client({ connectionString: secret.url });
      await expect(client.connect()).rejects.toThrow();
    }
  });

  it('are a limit of their orchestration at that integration, and of nobody and nothing else', async () => {
    await waitUntil(
      'the limit',
      async () => (await ask('litter', 'orders-db/readonly')) !== 'issued',
      within,
    );
    expect(await ask('litter', 'orders-db/readonly')).toMatchObject({
      code: 'limit_exceeded',
      detail: expect.stringContaining(
        '2 earlier leases of this orchestration at orders-db left things behind',
      ),
    });
    expect(await ask('tidy', 'orders-db/readonly')).toBe('issued');
    expect(await ask('litter', 'reports-api/read')).toBe('issued');
  });

  it('are one no longer when what was in the way has gone', async () => {
    await superuser.query('ROLLBACK');
    await waitUntil('the clean-up', async () => (await failing()).length === 0, within);
    await waitUntil('room', async () => (await ask('litter', 'orders-db/readonly')) === 'issued', within);
    const auditor = new pg.Client({ connectionString: stack.postgres.auditorUrl });
    await auditor.connect();
    const told = async () =>
      (
        await auditor.query(
          `SELECT cleanup, cleanup_failed_at IS NOT NULL AS failed FROM audit.credential_lifecycle WHERE lease_id = ANY ($1::uuid[])`,
          [left.map(({ lease_id }) => lease_id)],
        )
      ).rows as unknown[];
    try {
      await waitUntil(
        'the log',
        async () => (await told()).every((row) => (row as { cleanup: string }).cleanup === 'done'),
        within,
      );
      expect(await told()).toEqual([
        { cleanup: 'done', failed: true },
        { cleanup: 'done', failed: true },
      ]);
    } finally {
      await auditor.end();
    }
  });
});
