/** How fast events reach Postgres, against bare batched inserts of the same rows. */
import type { NatsConnection } from '@nats-io/transport-node';
import { newEvent } from '@mayfly/messaging';
import { waitUntil, type DevelopmentStack } from '@mayfly/stack';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { natsAs } from './issuance.bench.ts';
import { row, type Row } from './row.ts';

const burst = 50_000;
/** Services run for weeks: their code is measured compiled. */
const warmUp = 20_000;
const batch = 1_000;

export async function auditRate(stack: DevelopmentStack): Promise<Row[]> {
  const texts = eventTexts('audit', burst);
  const floorRate = await bareInserts(stack, texts);
  const auditor = new pg.Client({ connectionString: stack.postgres.auditorUrl });
  await auditor.connect();
  const connection = await natsAs(stack, 'policy');
  try {
    // By the end of the log, which costs Postgres nothing to tell, and then once by count.
    const written = async (task: string, from: number, count: number) => {
      await waitUntil('writing the burst', async () => (await lastSeq(auditor)) >= from + count, {
        deadlineMs: 300_000,
        intervalMs: 50,
      });
      const found = await countOf(auditor, task);
      if (found < count) throw new Error(`${count - found} of ${count} events are missing from the log.`);
    };
    const begin = await lastSeq(auditor);
    await publishAll(connection, eventTexts('warm-up', warmUp));
    await written('warm-up', begin, warmUp);
    const from = await lastSeq(auditor);
    const started = performance.now();
    await publishAll(connection, texts);
    const published = performance.now();
    await written('audit', from, burst);
    const done = performance.now();
    return [
      row(`audit, burst of ${burst} into Postgres`, '/s', (burst / (done - started)) * 1000, floorRate, {
        atLeast: 0.3,
      }),
      row('audit, lag after the burst back to zero', 's', (done - published) / 1000, burst / floorRate),
    ];
  } finally {
    await connection.close();
    await auditor.end();
  }
}

function eventTexts(task: string, count: number): string[] {
  return Array.from({ length: count }, (_, n) =>
    JSON.stringify(
      newEvent(
        'policy',
        'session.opened',
        {
          organization: 'acme',
          session_id: uuidv7(),
          agent_id: `spiffe://acme.example/agent/bench/${task}/i-${n}`,
          agent_role: 'analyst',
          user: 'ada@example.com',
          task,
          source_ip: '127.0.0.1',
          trace_id: 'f'.repeat(32),
          event_trace_id: 'f'.repeat(32),
        },
        { id: uuidv7() },
      ),
    ),
  );
}

/** Without waiting for the stream's word on each: that would measure the publisher. What is lost is missed in the count. */
async function publishAll(connection: NatsConnection, texts: readonly string[]): Promise<void> {
  for (let start = 0; start < texts.length; start += batch) {
    for (const text of texts.slice(start, start + batch))
      connection.publish('mayfly.events.session.opened', text);
    await connection.flush();
  }
}

async function lastSeq(auditor: pg.Client): Promise<number> {
  const { rows } = await auditor.query<{ seq: string }>(
    'SELECT seq FROM audit.events ORDER BY seq DESC LIMIT 1',
  );
  return Number(rows[0]?.seq ?? 0);
}

async function countOf(auditor: pg.Client, task: string): Promise<number> {
  const { rows } = await auditor.query<{ n: string }>(
    'SELECT count(*) AS n FROM audit.events WHERE starts_with(agent_id, $1)',
    [`spiffe://acme.example/agent/bench/${task}/`],
  );
  return Number(rows[0]?.n);
}

/** Rows per second of the same events into a plain table with the same key, a thousand at a time. */
async function bareInserts(stack: DevelopmentStack, texts: readonly string[]): Promise<number> {
  const client = new pg.Client({ connectionString: stack.postgres.databaseUrl });
  await client.connect();
  try {
    await client.query(
      'CREATE TABLE public.bare (seq bigint PRIMARY KEY, id uuid UNIQUE, time timestamptz, event jsonb)',
    );
    const started = performance.now();
    for (let start = 0; start < texts.length; start += batch) {
      await client.query({
        name: 'bare',
        text: `INSERT INTO public.bare SELECT $1 + n, (e->>'id')::uuid, (e->>'time')::timestamptz, e
               FROM unnest($2::jsonb[]) WITH ORDINALITY AS t(e, n)`,
        values: [start, texts.slice(start, start + batch)],
      });
    }
    return (texts.length / (performance.now() - started)) * 1000;
  } finally {
    await client.end();
  }
}
