/** I10: a lease that cannot be ended is never dropped: it is retried, counted, shown, and still counts against limits. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { PostgresSecret } from '@mayfly/domain';
import { Refused, waitUntil, type AgentApi, type OpenedLease } from '@mayfly/stack';
import { openSession, personClaims, startWholeStack, type TestStack } from '@mayfly/testing';
import pg from 'pg';

const within = { deadlineMs: 30_000 };

describe('I10: a lease whose upstream will not end it', () => {
  let stack: TestStack;
  let agent: AgentApi;
  let administrator: AgentApi;
  let superuser: pg.Client;
  let lease: OpenedLease<PostgresSecret>;

  beforeAll(async () => {
    stack = await startWholeStack({
      env: {
        revocation: {
          MAYFLY_LOUD_AFTER: '2',
          MAYFLY_RETRY_FIRST_MS: '100',
          MAYFLY_RETRY_LONGEST_MS: '300',
        },
      },
    });
    superuser = new pg.Client({ connectionString: stack.postgres.adminUrl });
    await superuser.connect();
    agent = await openSession(stack);
    administrator = await openSession(stack, personClaims(['administrators']));
    lease = await agent.postgresLease('orders-db/renewable', { ttl_seconds: 2 });
    await superuser.query('ALTER ROLE orders_admin NOLOGIN');
    await superuser.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'orders_admin'`,
    );
  }, 120_000);

  afterAll(async () => {
    await superuser.end();
    await stack.stop();
  });

  const failing = async () =>
    (
      (await administrator.call('GET', '/v1/leases?state=failing')) as {
        leases: { lease_id: string; state: string; failing?: { attempts: number } }[];
      }
    ).leases;

  const attempts = async () => (await failing())[0]?.failing?.attempts ?? 0;

  const metrics = async () => (await fetch(`${stack.services.revocation.url}/metrics`)).text();

  it('is shown as failing, and counted', async () => {
    await waitUntil('the alarm', async () => (await failing())[0]?.state === 'revocation_failed', within);
    expect((await failing()).map(({ lease_id }) => lease_id)).toEqual([lease.lease_id]);
    expect(await metrics()).toMatch(/mayfly_live_leases\{state="revocation_failed".*\} 1/);
    expect(await metrics()).toMatch(/mayfly_revocation_failures_total\{provider="postgres".*\} [1-9]/);
  });

  it('holds its place within the limits, long after its expiry', async () => {
    expect(Date.parse(lease.expires_at)).toBeLessThan(Date.now());
    const refused = await agent.lease('orders-db/renewable').catch((error: unknown) => error);
    expect((refused as Refused).problem.code).toBe('limit_exceeded');
  });

  it('is tried again and again, also by a service that knew nothing of it', async () => {
    const before = await attempts();
    await waitUntil('another attempt', async () => (await attempts()) > before, within);
    await stack.services.revocation.kill('SIGKILL');
    await stack.services.revocation.restart();
    const since = await attempts();
    await waitUntil('another attempt', async () => (await attempts()) > since, within);
  });

  it('ends as soon as the upstream will end it, and makes room', async () => {
    await superuser.query('ALTER ROLE orders_admin LOGIN');
    await waitUntil('its end', async () => (await failing()).length === 0, within);
    const { rows } = await superuser.query(`SELECT FROM pg_roles WHERE rolname ~ '^mayfly_[0-9a-f]{32}$'`);
    expect(rows).toEqual([]);
    await waitUntil(
      'room',
      () =>
        agent.lease('orders-db/renewable').then(
          () => true,
          () => false,
        ),
      within,
    );
  });
});
