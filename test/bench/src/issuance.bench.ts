/** What a lease costs: `jwt` against the bare parts of its path, `postgres` against creating the role by hand. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { NatsConnection } from '@nats-io/transport-node';
import { jetstream } from '@nats-io/jetstream';
import { join } from 'node:path';
import { bus, subjectOf, type ServiceName } from '@mayfly/contracts';
import { connectBus, newEvent } from '@mayfly/messaging';
import type { AgentApi, DevelopmentStack } from '@mayfly/stack';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { post } from './http-client.ts';
import { inTurn, underLoad } from './load.ts';
import { row, type Row } from './row.ts';

const rounds = 3;
/** Services run for weeks: their code is measured compiled. */
const warmUpMs = 12_000;
const roundMs = 4_000;

/** Asks for one lease; anything but a 201 ends the benchmark. */
export function ask(agent: AgentApi, credential: string): () => Promise<void> {
  const url = new URL('/v1/leases', agent.gatewayUrl);
  const headers = { authorization: `Bearer ${agent.sessionToken}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ credential });
  return async () => {
    const answer = await post(url, headers, body);
    if (answer.status !== 201) throw new Error(`${credential}: ${answer.status} ${answer.body}`);
  };
}

/**
 * Broker cost: p50 of one `jwt` lease at concurrency 1, against an HTTP echo, three NATS round trips, one acknowledged
 * JetStream publish and one Postgres commit, by bare clients one after the other.
 */
export async function jwtIssuance(stack: DevelopmentStack, agent: AgentApi): Promise<Row[]> {
  const floor = await openFloor(stack);
  try {
    const lease = ask(agent, 'reports-api/read');
    await underLoad(8, warmUpMs, lease);
    const one = await inTurn(
      rounds,
      () => underLoad(1, roundMs, floor.once),
      () => underLoad(1, roundMs, lease),
    );
    const many = await underLoad(16, roundMs, lease);
    const manyFloor = await underLoad(16, roundMs, floor.once);
    return [
      row('jwt issuance, p50 at 1', 'ms', one.measured.p50, one.floor.p50, { atMost: 6 }),
      row('jwt issuance, rate at 16', '/s', many.rate, manyFloor.rate),
    ];
  } finally {
    await floor.close();
  }
}

interface Floor {
  readonly once: () => Promise<void>;
  readonly close: () => Promise<void>;
}

async function openFloor(stack: DevelopmentStack): Promise<Floor> {
  const echo = createServer((request, response) => request.pipe(response));
  await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
  const echoUrl = new URL(`http://127.0.0.1:${(echo.address() as AddressInfo).port}/`);
  // The services' own users, because nobody else may use their subjects.
  const asker = await natsAs(stack, 'gateway');
  const answerer = await natsAs(stack, 'minting');
  const publisher = await natsAs(stack, 'policy');
  const subject = `${subjectOf(bus.minting.toolTokenKeys)}`;
  const subscription = answerer.subscribe(subject, {
    queue: 'minting',
    callback: (_error, message) => void message.respond(message.data),
  });
  await answerer.flush();
  const stream = jetstream(publisher);
  const event = JSON.stringify(newEvent('policy', 'session.opened', { organization: 'acme' }));
  const pool = new pg.Pool({ connectionString: stack.postgres.databaseUrl, max: 16 });
  await pool.query(
    'CREATE TABLE IF NOT EXISTS public.floor (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text)',
  );
  const body = JSON.stringify({ credential: 'reports-api/read' });
  return {
    once: async () => {
      await post(echoUrl, { 'content-type': 'application/json' }, body);
      for (let trip = 0; trip < 3; trip++) await asker.request(subject, body, { timeout: 5_000 });
      await stream.publish(
        'mayfly.events.session.opened',
        event.replace(/"id":"[^"]+"/, `"id":"${uuidv7()}"`),
      );
      await pool.query({
        name: 'floor',
        text: 'INSERT INTO public.floor (body) VALUES ($1)',
        values: [body],
      });
    },
    close: async () => {
      subscription.unsubscribe();
      await Promise.all([asker.close(), answerer.close(), publisher.close(), pool.end()]);
      echo.closeAllConnections();
      await new Promise((resolve) => echo.close(resolve));
    },
  };
}

/** A connection as one of the services. */
export function natsAs(stack: DevelopmentStack, service: ServiceName): Promise<NatsConnection> {
  return connectBus({
    servers: stack.natsUrl,
    service,
    seedFile: join(stack.keysFolder, service, 'nats.nk'),
  });
}

/** `postgres` leases per second, against the same role created by hand over 1, 16 and 64 connections. */
export async function postgresIssuance(stack: DevelopmentStack, agent: AgentApi): Promise<Row[]> {
  const rows: Row[] = [];
  await underLoad(8, warmUpMs, ask(agent, 'orders-db/measured'));
  for (const concurrency of [1, 16, 64]) {
    const byHand = await openByHand(stack, concurrency);
    try {
      await underLoad(concurrency, 1_000, ask(agent, 'orders-db/measured'));
      await underLoad(concurrency, 1_000, ask(agent, 'orders-fast/measured'));
      const floor = () => underLoad(concurrency, roundMs, byHand.once);
      const usual = await inTurn(rounds, floor, () =>
        underLoad(concurrency, roundMs, ask(agent, 'orders-db/measured')),
      );
      const fast = await inTurn(rounds, floor, () =>
        underLoad(concurrency, roundMs, ask(agent, 'orders-fast/measured')),
      );
      const budgets = concurrency === 16 ? { usual: { atLeast: 0.4 }, fast: { atLeast: 0.8 } } : {};
      rows.push(
        row(
          `postgres issuance, 4096 iterations, rate at ${concurrency}`,
          '/s',
          usual.measured.rate,
          usual.floor.rate,
          budgets.usual,
        ),
        row(
          `postgres issuance, 1 iteration, rate at ${concurrency}`,
          '/s',
          fast.measured.rate,
          fast.floor.rate,
          budgets.fast,
        ),
        row(
          `postgres issuance, 4096 iterations, p50 at ${concurrency}`,
          'ms',
          usual.measured.p50,
          usual.floor.p50,
        ),
      );
    } finally {
      await byHand.close();
    }
  }
  return rows;
}

/** What one would do by hand, and other brokers do: `CREATE ROLE … PASSWORD '<plain>' … IN ROLE …`. */
async function openByHand(stack: DevelopmentStack, concurrency: number): Promise<Floor> {
  const pool = new pg.Pool({ connectionString: stack.ordersAdminUrl, max: concurrency });
  await pool.query('DROP ROLE IF EXISTS floor_group');
  await pool.query('CREATE ROLE floor_group NOLOGIN');
  const run = uuidv7().replaceAll('-', '');
  const created: string[] = [];
  return {
    once: async () => {
      const name = `floor_${run}_${created.length}`;
      created.push(name);
      await pool.query(
        `CREATE ROLE ${name} LOGIN PASSWORD '${run}${created.length}' VALID UNTIL '2100-01-01' CONNECTION LIMIT 5 IN ROLE floor_group`,
      );
    },
    close: async () => {
      for (let start = 0; start < created.length; start += 500) {
        await pool.query(
          created
            .slice(start, start + 500)
            .map((name) => `DROP ROLE ${name}`)
            .join(';'),
        );
      }
      await pool.end();
    },
  };
}
