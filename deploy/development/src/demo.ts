/**
 * `npm run demo`: one agent, one database, one credential from request to expiry, on the real parts. Uses a data folder
 * of its own that is gone afterwards, so it never meets a running `npm start`.
 */
import { readFileSync } from 'node:fs';
import type { PostgresSecret } from '@mayfly/domain';
import {
  AgentApi,
  Refused,
  startDevelopmentStack,
  waitUntil,
  type DevelopmentStack,
  type OpenedLease,
} from '@mayfly/stack';
import pg from 'pg';
import { assertNodeOfTheLockFile } from './node-version.ts';
import { done, fact, failed, table, title } from './terminal.ts';

assertNodeOfTheLockFile();

const ttlSeconds = 5;

try {
  await demo();
} catch (error) {
  failed(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}

async function demo(): Promise<void> {
  const started = performance.now();
  title('Starting Postgres, NATS and the five services');
  const stack = await startDevelopmentStack({ log: (line) => fact('', line) });
  try {
    done(`ready in ${((performance.now() - started) / 1000).toFixed(1)} s at ${stack.gatewayUrl}`);
    await play(stack);
    title(
      `All of it happened as it should (${((performance.now() - started) / 1000).toFixed(1)} s). Start it for yourself: npm start`,
    );
  } finally {
    await stack.stop();
  }
}

async function play(stack: DevelopmentStack): Promise<void> {
  title('An agent proves who it is');
  const identity = readFileSync(stack.identityFiles.agent, 'utf8').trim();
  const agent = await AgentApi.openSession(stack.gatewayUrl, identity);
  done(`session ${agent.sessionId}; its secrets will be sealed to a key that only it holds`);

  title('It looks at what it may ask for');
  const { credentials } = await agent.credentials();
  table(
    ['CREDENTIAL', 'PROVIDER', 'SCOPE', 'TTL', 'MAX', 'ENDS'],
    credentials.map((item) => [
      item.credential,
      item.provider,
      JSON.stringify(item.scope),
      `${item.ttl.default_seconds} s`,
      `${item.ttl.max_seconds} s`,
      item.revocability.kind,
    ]),
  );

  title('It asks for more than policy allows');
  await refused('a credential that its role may not have', 'policy_denied', () =>
    agent.lease('orders-db/writer'),
  );
  await refused('a scope wider than the credential', 'scope_exceeded', () =>
    agent.lease('orders-db/readonly', { scope: { privileges: ['SELECT', 'DELETE'] } }),
  );
  await refused('a longer life than the credential may have', 'ttl_exceeded', () =>
    agent.lease('orders-db/readonly', { ttl_seconds: 86_400 }),
  );

  title(`It asks for orders-db/readonly, for ${ttlSeconds} seconds`);
  const lease = await agent.postgresLease('orders-db/readonly', { ttl_seconds: ttlSeconds });
  done(`lease ${lease.lease_id} until ${lease.expires_at}`);
  done(`Postgres role ${lease.secret.username}`);
  await useUntilItEnds(stack, agent, lease);
  await timeline(stack, lease);
}

async function useUntilItEnds(
  stack: DevelopmentStack,
  agent: AgentApi,
  lease: OpenedLease<PostgresSecret>,
): Promise<void> {
  title('It uses it with an ordinary Postgres client');
  const open = new pg.Client({ connectionString: lease.secret.url });
  let cut = false;
  open.on('error', () => (cut = true));
  open.on('end', () => (cut = true));
  await open.connect();
  const { rows } = await open.query<{ name: string; orders: number; total: number }>(
    `SELECT c.name, count(*)::int AS orders, sum(o.cents)::int / 100 AS total
       FROM orders o JOIN customers c ON c.id = o.customer_id GROUP BY c.name ORDER BY total DESC LIMIT 3`,
  );
  done('SELECT works');
  table(
    ['CUSTOMER', 'ORDERS', 'TOTAL'],
    rows.map((row) => [row.name, String(row.orders), String(row.total)]),
  );
  await agent.reportUse(lease.lease_id, 'select orders');
  const insert = await open.query("INSERT INTO orders VALUES (999, 1, 'contraband', 1)").then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
  if (insert === undefined) throw new Error('An INSERT with a read-only credential went through.');
  done(`INSERT is refused by Postgres: ${insert}`);

  title('Its time is over');
  await waitUntil('cutting the open connection', () => cut, { deadlineMs: (ttlSeconds + 20) * 1000 });
  done('the open connection was cut');
  const again = new pg.Client({ connectionString: lease.secret.url });
  again.on('error', () => undefined);
  const login = await again.connect().then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
  await again.end().catch(() => undefined);
  if (login === undefined) throw new Error('The credential still opens a connection after its expiry.');
  done(`a new connection is refused: ${login}`);
  await waitUntil('dropping the role', () => roleIsGone(stack, lease.secret.username), {
    deadlineMs: 20_000,
  });
  done('the role is gone from pg_roles');
}

async function roleIsGone(stack: DevelopmentStack, role: string): Promise<boolean> {
  const { rowCount } = await query(stack.ordersAdminUrl, 'SELECT FROM pg_roles WHERE rolname = $1', [role]);
  return rowCount === 0;
}

interface TimelineRow {
  time: Date;
  type: string;
  trace_id: string;
  detail: string | null;
}

async function timeline(stack: DevelopmentStack, lease: OpenedLease<PostgresSecret>): Promise<void> {
  title('What an auditor finds, in SQL');
  const sql = `SELECT time, type, trace_id, coalesce(reason, data->>'action_context') AS detail
  FROM audit.events WHERE lease_id = $1 ORDER BY seq`;
  console.log(`  ${sql}\n`);
  const events = async () =>
    (await query<TimelineRow>(stack.postgres.auditorUrl, sql, [lease.lease_id])).rows;
  await waitUntil(
    'recording the end of the lease',
    async () => (await events()).some(({ type }) => type.includes('expired')),
    { deadlineMs: 20_000 },
  );
  const rows = await events();
  table(
    ['TIME', 'EVENT', 'TRACE', 'DETAIL'],
    rows.map((row) => [row.time.toISOString(), row.type, row.trace_id, row.detail ?? '']),
  );
  if (!rows.every(({ trace_id }) => trace_id === lease.trace_id)) {
    throw new Error('The rows of one lease do not have one trace id.');
  }
  done(`every row has the trace id of the request: ${lease.trace_id}`);
}

async function query<Row extends pg.QueryResultRow>(
  url: string,
  sql: string,
  values: unknown[],
): Promise<pg.QueryResult<Row>> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await client.query<Row>(sql, values);
  } finally {
    await client.end();
  }
}

async function refused(what: string, code: string, ask: () => Promise<unknown>): Promise<void> {
  try {
    await ask();
  } catch (error) {
    if (!(error instanceof Refused) || error.problem.code !== code) throw error;
    done(`${what} is refused: ${code}, ${error.problem.detail}`);
    return;
  }
  throw new Error(`${what} was granted, and should have been refused with ${code}.`);
}
