/** How fast events reach Postgres, against bare batched inserts of the same rows. */
import { newEvent } from '@mayfly/messaging';
import { waitUntil, type DevelopmentStack } from '@mayfly/stack';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { natsAs } from './issuance.bench.ts';
import { row, type Row } from './row.ts';

const burst = 50_000;
const batch = 1_000;

export async function auditRate(stack: DevelopmentStack): Promise<Row[]> {
  const events = Array.from({ length: burst }, (_, n) =>
    newEvent(
      'policy',
      'session.opened',
      {
        organization: 'acme',
        session_id: uuidv7(),
        agent_id: `spiffe://acme.example/agent/bench/audit/i-${n}`,
        agent_role: 'analyst',
        user: 'ada@example.com',
        task: 'audit',
        source_ip: '127.0.0.1',
        trace_id: 'f'.repeat(32),
        event_trace_id: 'f'.repeat(32),
      },
      { id: uuidv7() },
    ),
  );
  const texts = events.map((event) => JSON.stringify(event));
  const floorRate = await bareInserts(stack, texts);
  const auditor = new pg.Client({ connectionString: stack.postgres.auditorUrl });
  await auditor.connect();
  const connection = await natsAs(stack, 'policy');
  try {
    const count = async () =>
      Number(
        (
          await auditor.query<{ n: string }>(
            `SELECT count(*) AS n FROM audit.events WHERE agent_id LIKE 'spiffe://acme.example/agent/bench/audit/%'`,
          )
        ).rows[0]?.n,
      );
    const started = performance.now();
    for (let start = 0; start < burst; start += batch) {
      // Without waiting for the stream's word on each: that would measure the publisher. What is lost would be missed below.
      for (const text of texts.slice(start, start + batch)) {
        connection.publish('mayfly.events.session.opened', text);
      }
      await connection.flush();
    }
    const published = performance.now();
    await waitUntil('writing the burst', async () => (await count()) >= burst, {
      deadlineMs: 300_000,
      intervalMs: 250,
    });
    const written = performance.now();
    return [
      row(`audit, burst of ${burst} into Postgres`, '/s', (burst / (written - started)) * 1000, floorRate, {
        atLeast: 0.3,
      }),
      row('audit, lag after the burst back to zero', 's', (written - published) / 1000, burst / floorRate),
    ];
  } finally {
    await connection.close();
    await auditor.end();
  }
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
