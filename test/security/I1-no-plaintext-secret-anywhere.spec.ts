/**
 * I1: no plaintext secret or session token on the bus, in a stream, in Postgres, in a log, span, metric or error. A stack of
 * its own, with every byte between the services and NATS recorded; afterwards everything that was written anywhere is
 * searched for everything secret, in every plausible encoding.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { waitUntil, type DevelopmentStack } from '@mayfly/stack';
import {
  agentClaims,
  BusTap,
  filesBelow,
  identityToken,
  openSession,
  OtlpReceiver,
  personClaims,
  startWholeStack,
  sweep,
  type SweptPlace,
  type SweptSecret,
} from '@mayfly/testing';
import { AgentApi } from '@mayfly/stack';
import pg from 'pg';

describe('I1: after a full run', () => {
  let stack: DevelopmentStack;
  let tap: BusTap;
  let spans: OtlpReceiver;
  const secrets: SweptSecret[] = [];
  const leaseIds: string[] = [];
  let places: SweptPlace[];
  const answers: string[] = [];

  const keep = (name: string, value: unknown) => {
    if (typeof value !== 'string') throw new Error(`${name} is no text`);
    secrets.push({ name, value });
  };

  beforeAll(async () => {
    spans = await OtlpReceiver.start();
    stack = await startWholeStack({
      inheritFrom: { ...process.env, ...spans.environment, MAYFLY_LOG_LEVEL: 'trace' },
      // The upstream writes down every statement, so that a password in one would be found.
      postgresSettings: { log_statement: 'all', log_min_duration_statement: '0' },
      prepare: async ({ natsUrl }) => {
        tap = await BusTap.start(natsUrl);
        return { servicesNatsUrl: tap.url };
      },
    });
    await useEverything();
    places = await everywhere();
  }, 120_000);

  afterAll(async () => {
    await stack.stop();
    await tap.stop();
    await spans.stop();
  });

  async function useEverything(): Promise<void> {
    const identity = await identityToken(stack, agentClaims());
    keep('platform identity', identity);
    const sealed = await AgentApi.openSession(stack.gatewayUrl, identity);
    const unsealed = await openSession(stack, agentClaims(), { sealed: false });
    const administrator = await openSession(
      stack,
      personClaims(['administrators', 'auditors', 'platform-administrators']),
    );
    for (const [name, { sessionToken }] of Object.entries({ sealed, unsealed, administrator }))
      keep(`session token (${name})`, sessionToken);

    for (const [name, agent] of Object.entries({ sealed, unsealed })) {
      const database = await agent.postgresLease('orders-db/readonly', {
        ttl_seconds: name === 'sealed' ? 2 : 60,
      });
      keep(`password (${name})`, database.secret.password);
      await use(database.secret.url);
      const tool = await agent.lease('reports-api/read', { ttl_seconds: 60 });
      keep(`tool token (${name})`, tool.secret['token']);
      await introspect(agent, String(tool.secret['token']));
      await agent.reportUse(database.lease_id, 'select');
      leaseIds.push(database.lease_id, tool.lease_id);
      await fail(agent);
    }
    keep('database administrator', new URL(stack.ordersAdminUrl).password);
    // A secret in every wrong place, by mistake of the asker.
    await post(
      '/v1/leases',
      { credential: 'orders-db/readonly', password: 'misplaced-secret-0815' },
      unsealed.sessionToken,
    );
    await post('/v1/leases', { credential: { secret: 'misplaced-secret-0815' } }, unsealed.sessionToken);
    await post('/v1/leases?token=misplaced-secret-0815', {}, 'misplaced-secret-0815');
    keep('misplaced secret', 'misplaced-secret-0815');

    await administrator.call('GET', '/v1/audit/events?limit=1000');
    for (const { sessionToken } of [sealed, unsealed]) {
      await fetch(`${stack.gatewayUrl}/v1/token/revoke`, {
        method: 'POST',
        body: new URLSearchParams({ token: sessionToken }),
      });
    }
    await waitUntil(
      'ending all leases',
      async () =>
        (await count(
          'SELECT count(*) FROM audit.credential_lifecycle WHERE issued_at IS NOT NULL AND ended_at IS NULL',
        )) === 0,
      { deadlineMs: 30_000 },
    );
  }

  async function use(url: string): Promise<void> {
    const client = new pg.Client({ connectionString: url });
    client.on('error', () => undefined);
    await client.connect();
    await client.query('SELECT count(*) FROM orders');
    await client.query('DELETE FROM orders').catch(() => undefined);
    await client.end();
  }

  async function fail(agent: AgentApi): Promise<void> {
    for (const credential of ['orders-db/writer', 'down-db/readonly', 'nothing/here']) {
      await agent.lease(credential).catch((error: unknown) => answers.push(String(error)));
    }
  }

  async function introspect(agent: AgentApi, token: string): Promise<void> {
    await fetch(`${stack.gatewayUrl}/v1/introspect`, {
      method: 'POST',
      headers: { authorization: `Bearer ${agent.sessionToken}` },
      body: new URLSearchParams({ token }),
    });
  }

  async function post(path: string, body: object, token: string): Promise<void> {
    const response = await fetch(`${stack.gatewayUrl}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    answers.push(await response.text());
  }

  async function count(sql: string): Promise<number> {
    const client = new pg.Client({ connectionString: stack.postgres.auditorUrl });
    await client.connect();
    try {
      return Number((await client.query<{ count: string }>(sql)).rows[0]?.count);
    } finally {
      await client.end();
    }
  }

  /** Everything that Mayfly, NATS and Postgres have written or said. Keys and identities are where secrets belong. */
  async function everywhere(): Promise<SweptPlace[]> {
    const metrics = await Promise.all(
      Object.entries(stack.services).map(async ([name, { url }]) => ({
        name: `metrics of ${name}`,
        content: Buffer.from(await (await fetch(`${url}/metrics`)).text()),
      })),
    );
    const database = new pg.Client({ connectionString: stack.postgres.databaseUrl });
    await database.connect();
    await database.query('CHECKPOINT');
    await database.end();
    return [
      { name: 'bus', content: tap.recorded() },
      { name: 'spans', content: Buffer.from(spans.bodies.join('\n')) },
      { name: 'error answers', content: Buffer.from(answers.join('\n')) },
      ...metrics,
      ...filesBelow(join(stack.dataDirectory, 'nats'), 'nats'),
      ...filesBelow(join(stack.dataDirectory, 'postgres'), 'postgres').filter(
        ({ name }) => !name.includes('password'),
      ),
      ...filesBelow(join(stack.dataDirectory, 'logs'), 'logs'),
      ...filesBelow(join(stack.dataDirectory, 'checkpoints'), 'checkpoints'),
    ];
  }

  it('nothing secret is anywhere', () => {
    expect(sweep(secrets, places)).toEqual([]);
  });

  it('and the sweep has looked where things are: what is no secret is found there', () => {
    const placesOf = (name: string, value: string) =>
      sweep([{ name, value }], places).map(({ place }) => place.split('/')[0]);
    const found = new Set([
      ...placesOf('lease id', leaseIds[0] ?? ''),
      ...placesOf('log line', '"msg":"listening"'),
    ]);
    expect([...found]).toEqual(expect.arrayContaining(['bus', 'spans', 'nats', 'postgres', 'logs']));
  });
});
