/**
 * I2: no credential is released before its activation has committed; issuance fails closed; ends never wait for audit or a
 * full stream. A stack of its own, whose parts are taken away one at a time.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { jetstreamManager } from '@nats-io/jetstream';
import { connectBus } from '@mayfly/messaging';
import { waitUntil, type AgentApi, type DevelopmentStack } from '@mayfly/stack';
import { openSession, startWholeStack } from '@mayfly/testing';
import pg from 'pg';

const within = { deadlineMs: 40_000 };

describe('I2: a credential', () => {
  let stack: DevelopmentStack;
  let agent: AgentApi;
  let upstream: pg.Client;

  beforeAll(async () => {
    stack = await startWholeStack({
      env: { minting: { MAYFLY_PROVIDER_DEADLINE_MS: '5000', MAYFLY_POSTGRES_STATEMENT_TIMEOUT_MS: '2000' } },
    });
    agent = await openSession(stack);
    upstream = new pg.Client({ connectionString: stack.ordersAdminUrl });
    await upstream.connect();
  }, 120_000);

  afterAll(async () => {
    await upstream.end();
    await stack.stop();
  });

  const leaseRoles = async () => {
    const { rows } = await upstream.query<{ rolname: string }>(
      `SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname ~ '^mayfly_[0-9a-f]{32}$' ORDER BY 1`,
    );
    return rows.map(({ rolname }) => rolname);
  };

  const refusal = (ask: Promise<unknown>) =>
    ask.then(
      () => 'granted',
      (error: unknown) => (error as { problem: { code: string } }).problem.code,
    );

  it('is not released while the register is down, and nothing is left upstream', async () => {
    const before = await leaseRoles();
    await stack.services.revocation.kill('SIGKILL');
    expect(await refusal(agent.lease('orders-db/readonly'))).toBe('dependency_unavailable');
    await waitUntil(
      'removing what was minted',
      async () => (await leaseRoles()).length === before.length,
      within,
    );
    await stack.services.revocation.restart();
    await agent.giveBack((await agent.lease('orders-db/readonly')).lease_id);
  }, 90_000);

  it('is not released while the register hangs; one that commits late is ended', async () => {
    stack.services.revocation.process().kill('SIGSTOP');
    const asked = refusal(agent.lease('orders-db/readonly'));
    expect(await asked).toBe('dependency_unavailable');
    stack.services.revocation.process().kill('SIGCONT');
    await waitUntil(
      'ending what may have become active',
      async () => (await leaseRoles()).length === 0 && (await agent.leases()).length === 0,
      within,
    );
  }, 90_000);

  it('is ended as undelivered when its asker has gone before the answer', async () => {
    stack.services.revocation.process().kill('SIGSTOP');
    const gone = new AbortController();
    const asked = fetch(`${stack.gatewayUrl}/v1/leases`, {
      method: 'POST',
      headers: { authorization: `Bearer ${agent.sessionToken}`, 'content-type': 'application/json' },
      body: JSON.stringify({ credential: 'orders-db/readonly' }),
      signal: gone.signal,
    });
    await waitUntil('the role to be there', async () => (await leaseRoles()).length === 1, within);
    gone.abort();
    await expect(asked).rejects.toThrow();
    stack.services.revocation.process().kill('SIGCONT');
    await waitUntil('ending it', async () => (await leaseRoles()).length === 0, within);
    const [last] = (
      (await agent.call('GET', '/v1/leases?state=all&limit=1')) as { leases: { end_reason?: string }[] }
    ).leases;
    expect(last?.end_reason).toBe('undelivered');
  }, 60_000);

  it.each(['policy', 'minting'] as const)(
    'is not released while %s is down',
    async (service) => {
      await stack.services[service].kill('SIGKILL');
      expect(await refusal(agent.lease('orders-db/readonly'))).toBe('dependency_unavailable');
      await stack.services[service].restart();
      await agent.giveBack((await agent.lease('orders-db/readonly')).lease_id);
    },
    60_000,
  );

  it('ends while audit is down', async () => {
    await stack.services.audit.kill('SIGKILL');
    const lease = await agent.postgresLease('orders-db/readonly', { ttl_seconds: 2 });
    const { lease_id } = await agent.lease('orders-db/readonly');
    expect(await agent.giveBack(lease_id)).toMatchObject({ outcome: 'revoked' });
    await waitUntil(
      'expiring the lease',
      async () => !(await leaseRoles()).includes(lease.secret.username),
      within,
    );
    await stack.services.audit.restart();
  }, 60_000);

  it('is not issued while the event stream is full, and ends all the same', async () => {
    const { lease_id } = await agent.lease('orders-db/readonly');
    const connection = await connectBus({
      servers: stack.natsUrl,
      service: 'setup',
      seedFile: join(stack.keysFolder, 'setup', 'nats.nk'),
    });
    const manager = await jetstreamManager(connection, { checkAPI: false });
    const { config } = await manager.streams.info('MAYFLY_EVENTS');
    await stack.services.audit.kill('SIGKILL');
    try {
      // One byte: whatever is published now does not fit.
      await manager.streams.update('MAYFLY_EVENTS', { ...config, max_bytes: 1 });
      expect(await refusal(agent.lease('orders-db/readonly'))).toBe('dependency_unavailable');
      expect(await agent.giveBack(lease_id)).toMatchObject({ outcome: 'revoked' });
      expect(await leaseRoles()).toEqual([]);
    } finally {
      await manager.streams.update('MAYFLY_EVENTS', config);
      await connection.close();
      await stack.services.audit.restart();
    }
    // What happened in the meantime was kept in the outbox, and is in the log now.
    const auditor = new pg.Client({ connectionString: stack.postgres.auditorUrl });
    await auditor.connect();
    const ended = async () =>
      (
        await auditor.query(
          `SELECT FROM audit.events WHERE lease_id = $1 AND type LIKE '%credential.revoked%'`,
          [lease_id],
        )
      ).rowCount === 1;
    await waitUntil('recording the end', ended, within);
    await auditor.end();
  }, 90_000);
});
