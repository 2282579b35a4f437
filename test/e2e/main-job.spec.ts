/**
 * The main job with the real parts: five services as processes, nats-server, Postgres, and psql as the client that an agent
 * already has.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from '@jest/globals';
import type { PostgresSecret } from '@mayfly/domain';
import { findPsql, waitUntil, type AgentApi, type OpenedLease } from '@mayfly/stack';
import { openSession, wholeStack } from '@mayfly/testing';
import pg from 'pg';

const run = promisify(execFile);
const stack = wholeStack();

async function psql(
  secret: PostgresSecret,
  sql: string,
): Promise<{ stdout: string; stderr: string; failed: boolean }> {
  const args = ['--no-psqlrc', '--tuples-only', '--no-align', '--command', sql];
  const env = {
    PATH: process.env['PATH'],
    PGHOST: secret.host,
    PGPORT: String(secret.port),
    PGDATABASE: secret.database,
    PGUSER: secret.username,
    PGPASSWORD: secret.password,
  };
  try {
    return { ...(await run(findPsql(), args, { env })), failed: false };
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    return { stdout, stderr, failed: true };
  }
}

async function rowsOf(url: string, sql: string, values: unknown[]): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql, values)).rows;
  } finally {
    await client.end();
  }
}

const within = { deadlineMs: 20_000 };

describe('an agent with a Postgres credential', () => {
  let agent: AgentApi;
  let lease: OpenedLease<PostgresSecret>;

  beforeAll(async () => {
    agent = await openSession(stack);
    lease = await agent.postgresLease('orders-db/readonly', { ttl_seconds: 60, task: 'quarterly report' });
  });

  it('sees what it may ask for, with bounds and how it ends', async () => {
    const { credentials } = await agent.credentials();
    expect(credentials).toContainEqual(
      expect.objectContaining({
        credential: 'orders-db/readonly',
        provider: 'postgres',
        ttl: { default_seconds: 300, max_seconds: 900 },
        revocability: { kind: 'immediate' },
        writes: false,
      }),
    );
    expect(credentials.map(({ credential }) => credential)).not.toContain('orders-db/writer');
  });

  it('reads with psql', async () => {
    expect((await psql(lease.secret, 'SELECT count(*) FROM orders')).stdout.trim()).toBe('50');
  });

  it('is refused by Postgres when it writes', async () => {
    const { stderr } = await psql(lease.secret, "INSERT INTO orders VALUES (1000, 1, 'x', 1)");
    expect(stderr).toContain('permission denied for table orders');
  });

  it('sees its lease, and never the secret again', async () => {
    const [seen] = await agent.leases();
    expect(seen).toMatchObject({
      lease_id: lease.lease_id,
      state: 'active',
      credential: 'orders-db/readonly',
    });
    expect(JSON.stringify(seen)).not.toContain(lease.secret.password);
  });

  it('gives it back: the open connection is cut, the password opens nothing, the role is gone', async () => {
    const open = new pg.Client({ connectionString: lease.secret.url });
    let cut = false;
    open.on('error', () => (cut = true)).on('end', () => (cut = true));
    await open.connect();
    expect(await agent.giveBack(lease.lease_id)).toMatchObject({
      lease_id: lease.lease_id,
      outcome: 'revoked',
    });
    await waitUntil('cutting the connection', () => cut, within);
    expect(await psql(lease.secret, 'SELECT 1')).toMatchObject({ failed: true });
    expect(
      await rowsOf(stack.ordersAdminUrl, 'SELECT FROM pg_roles WHERE rolname = $1', [lease.secret.username]),
    ).toEqual([]);
  });

  it('leaves an auditor one row that tells it all', async () => {
    await agent.reportUse(lease.lease_id, 'too late').catch(() => undefined);
    const find = () =>
      rowsOf(stack.auditorUrl, 'SELECT * FROM audit.credential_lifecycle WHERE lease_id = $1', [
        lease.lease_id,
      ]);
    await waitUntil('recording the end', async () => (await find())[0]?.['how_ended'] !== null, within);
    expect(await find()).toEqual([
      expect.objectContaining({
        organization: 'acme',
        agent_role: 'analyst',
        user: 'ada@example.com',
        task: 'orders-report',
        claimed_task: 'quarterly report',
        credential: 'orders-db/readonly',
        how_ended: 'revoked',
        trace_id: lease.trace_id,
      }),
    ]);
  });
});

describe('a lease that nobody gives back', () => {
  it('ends at its time, upstream too, under the trace of its request', async () => {
    const agent = await openSession(stack);
    const lease = await agent.postgresLease('orders-db/readonly', { ttl_seconds: 2 });
    await agent.reportUse(lease.lease_id, 'select');
    await waitUntil('ending the lease', async () => (await psql(lease.secret, 'SELECT 1')).failed, within);
    const events = () =>
      rowsOf(stack.auditorUrl, 'SELECT type, trace_id FROM audit.events WHERE lease_id = $1 ORDER BY seq', [
        lease.lease_id,
      ]);
    await waitUntil(
      'recording the expiry',
      async () => (await events()).some(({ type }) => String(type).includes('expired')),
      within,
    );
    const rows = await events();
    expect(rows.map(({ type }) => String(type).replace(/^dev\.mayfly\.|\.v1$/g, '')).sort()).toEqual([
      'credential.expired',
      'credential.intended',
      'credential.issued',
      'credential.used',
    ]);
    expect(new Set(rows.map(({ trace_id }) => trace_id))).toEqual(new Set([lease.trace_id]));
    expect(
      await rowsOf(stack.ordersAdminUrl, 'SELECT FROM pg_roles WHERE rolname = $1', [lease.secret.username]),
    ).toEqual([]);
  });
});

describe('a tool that is shown a tool token', () => {
  it('verifies it by the published keys and is told when its lease is over', async () => {
    const agent = await openSession(stack);
    const tool = await openSession(stack);
    const lease = await agent.lease('reports-api/read', {
      scope: { scopes: ['read:reports:q3'] },
      ttl_seconds: 60,
    });
    const token = String(lease.secret['token']);
    const { createRemoteJWKSet, jwtVerify } = await import('jose');
    const keys = createRemoteJWKSet(new URL(`${stack.gatewayUrl}/.well-known/jwks.json`));
    const { payload } = await jwtVerify(token, keys, {
      audience: 'https://reports.example',
      issuer: stack.gatewayUrl,
    });
    expect(payload).toMatchObject({ jti: lease.lease_id, scope: 'read:reports:q3', task: 'orders-report' });
    expect(payload.sub).toMatch(/^spiffe:\/\/acme\.example\/agent\/e2e\/orders-report\//);
    const introspect = () => introspection(tool, token);
    expect(await introspect()).toMatchObject({ active: true, jti: lease.lease_id });
    expect(await agent.giveBack(lease.lease_id)).toMatchObject({ outcome: 'expiry_only' });
    expect(await introspect()).toEqual({ active: false });
    // It still works for a tool that does not ask: the auditor is told so.
    const live = () =>
      rowsOf(
        stack.auditorUrl,
        'SELECT how_ended, revocability FROM audit.live_credentials WHERE lease_id = $1',
        [lease.lease_id],
      );
    await waitUntil('recording the end', async () => (await live())[0]?.['how_ended'] === 'revoked', within);
    expect(await live()).toEqual([{ how_ended: 'revoked', revocability: 'expiry_only' }]);
  });
});

describe('a request with an Idempotency-Key', () => {
  it('that is repeated ends the first lease and mints anew; with another body it is a conflict', async () => {
    const agent = await openSession(stack);
    const key = { 'idempotency-key': crypto.randomUUID() };
    const first = await agent.postgresLease('orders-db/readonly', { ttl_seconds: 60 }, key);
    const repeat = () => agent.postgresLease('orders-db/readonly', { ttl_seconds: 60 }, key);
    // Until policy has heard that the first was issued, it counts as still running.
    let second: OpenedLease<PostgresSecret> | undefined;
    await waitUntil('the repeat', async () => (second = await repeat()) !== undefined, within);
    expect(second?.lease_id).not.toBe(first.lease_id);
    expect(await psql(first.secret, 'SELECT 1')).toMatchObject({ failed: true });
    if (second !== undefined) expect(await psql(second.secret, 'SELECT 1')).toMatchObject({ failed: false });
    const other = agent.lease('orders-db/readonly', { ttl_seconds: 30 }, key);
    await expect(other).rejects.toMatchObject({ problem: { code: 'conflict' } });
  });
});

describe('a session that ends', () => {
  it('takes all its leases with it', async () => {
    const agent = await openSession(stack);
    const lease = await agent.postgresLease('orders-db/readonly');
    const response = await fetch(`${stack.gatewayUrl}/v1/token/revoke`, {
      method: 'POST',
      body: new URLSearchParams({ token: agent.sessionToken }),
    });
    expect(response.status).toBe(200);
    await waitUntil('ending the lease', async () => (await psql(lease.secret, 'SELECT 1')).failed, within);
    await expect(agent.lease('orders-db/readonly')).rejects.toMatchObject({
      problem: { code: 'unauthenticated' },
    });
  });
});

async function introspection(tool: AgentApi, token: string): Promise<unknown> {
  const response = await fetch(`${stack.gatewayUrl}/v1/introspect`, {
    method: 'POST',
    headers: { authorization: `Bearer ${tool.sessionToken}` },
    body: new URLSearchParams({ token }),
  });
  return response.json();
}
