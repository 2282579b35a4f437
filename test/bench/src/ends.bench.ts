/** How fast leases end: all due at once, and a cascade, against the same statements for each role sent directly. */
import { readFileSync } from 'node:fs';
import { AgentApi, type DevelopmentStack } from '@mayfly/stack';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { ask } from './issuance.bench.ts';
import { Register } from './register.ts';
import { row, type Row } from './row.ts';

const leases = 10_000;
const concurrency = 16;
const credential = 'orders-fast/measured';

export async function manyEnds(stack: DevelopmentStack, agent: AgentApi): Promise<Row[]> {
  const register = await Register.open(stack);
  try {
    // The first lease has the roles made that the direct statements act as.
    await ask(agent, credential)();
    const floorRate = await endByHand(stack);
    await mintMany(agent);
    const live = await register.live();
    await register.makeAllDue();
    const dueRate = (live / (await register.untilAllEnded())) * 1000;

    await mintMany(agent);
    const admin = await AgentApi.openSession(
      stack.gatewayUrl,
      readFileSync(stack.identityFiles.administrator, 'utf8').trim(),
    );
    const cascade = await register.live();
    await revoke(stack, admin);
    const cascadeRate = (cascade / (await register.untilAllEnded())) * 1000;
    return [
      row(`ends, ${leases} leases due at once`, '/s', dueRate, floorRate, { atLeast: 0.5 }),
      row(`ends, cascade over ${leases} leases`, '/s', cascadeRate, floorRate),
    ];
  } finally {
    await register.close();
  }
}

async function mintMany(agent: AgentApi): Promise<void> {
  let left = leases;
  const once = ask(agent, credential);
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (left-- > 0) await once();
    }),
  );
}

async function revoke(stack: DevelopmentStack, admin: AgentApi): Promise<void> {
  const response = await fetch(`${stack.gatewayUrl}/v1/revocations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${admin.sessionToken}`, 'content-type': 'application/json' },
    body: JSON.stringify({ subject: { kind: 'credential', id: credential }, reason: 'benchmark' }),
  });
  if (response.status !== 202) throw new Error(`revocation: ${response.status} ${await response.text()}`);
}

/** The statements that end one login role, for as many roles, over 16 connections. Answers with roles per second. */
async function endByHand(stack: DevelopmentStack): Promise<number> {
  const pool = new pg.Pool({ connectionString: stack.ordersAdminUrl, max: concurrency });
  try {
    const { rows } = await pool.query<{ rolname: string }>(
      `SELECT rolname FROM pg_roles WHERE rolname ~ '^mayfly_creator_' ORDER BY rolname`,
    );
    const creatorOf = (n: number) => rows[n % rows.length]?.rolname ?? 'none';
    const run = uuidv7().replaceAll('-', '');
    const all = async (statement: (name: string, creator: string) => string) => {
      let next = 0;
      await Promise.all(
        Array.from({ length: concurrency }, async () => {
          for (let n = next++; n < leases; n = next++) {
            await pool.query(statement(`floor_${run}_${n}`, creatorOf(n)));
          }
        }),
      );
    };
    await all((name, creator) => `SET LOCAL ROLE ${creator}; CREATE ROLE ${name} LOGIN CONNECTION LIMIT 5`);
    const started = performance.now();
    await all(
      (name, creator) => `BEGIN; SET LOCAL synchronous_commit = off; SET LOCAL ROLE ${creator};
        ALTER ROLE ${name} NOLOGIN; GRANT ${name} TO CURRENT_USER WITH INHERIT TRUE; COMMIT;
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '${name}';
        SET LOCAL ROLE ${creator}; DROP OWNED BY ${name}; DROP ROLE ${name}`,
    );
    return (leases / (performance.now() - started)) * 1000;
  } finally {
    await pool.end();
  }
}
