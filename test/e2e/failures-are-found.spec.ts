/**
 * Who gets a failure gets a trace id with it. By that the log lines of every service are found, with the lease and the integration
 * they are about and the code of whatever refused; and the span, with the same code. Never its text. A stack of its own, in which
 * each service's database is broken for a moment.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ServiceName } from '@mayfly/contracts';
import { Refused, waitUntil, type AgentApi, type DevelopmentStack } from '@mayfly/stack';
import { openSession, OtlpReceiver, startWholeStack } from '@mayfly/testing';
import pg from 'pg';

const within = { deadlineMs: 30_000 };
const password = 'not-the-password-of-anybody';

interface Line {
  readonly service: ServiceName;
  readonly [field: string]: unknown;
}

describe('by the trace id of a failure', () => {
  let receiver: OtlpReceiver;
  let stack: DevelopmentStack;
  let agent: AgentApi;
  let database: pg.Client;
  const texts: string[] = [];

  beforeAll(async () => {
    receiver = await OtlpReceiver.start();
    stack = await startWholeStack({
      inheritFrom: { ...process.env, ...receiver.environment },
      onLine: (_service, line) => void texts.push(line),
      prepare: ({ adminUrl }) => {
        const url = new URL(adminUrl);
        Object.assign(url, { username: 'nobody_at_all', password });
        return Promise.resolve({ mintingSecrets: { ORDERS_UNREACHABLE_URL: url.href } });
      },
    });
    agent = await openSession(stack);
    database = new pg.Client({ connectionString: stack.postgres.databaseUrl });
    await database.connect();
  }, 120_000);

  afterAll(async () => {
    await database.end();
    await stack.stop();
    await receiver.stop();
  });

  const refusal = async (ask: Promise<unknown>) => {
    try {
      await ask;
    } catch (error) {
      if (error instanceof Refused) return error.problem;
      throw error;
    }
    throw new Error('It was granted.');
  };

  const lines = (service: ServiceName): Line[] =>
    texts
      .filter((text) => text.startsWith('{'))
      .map((text) => JSON.parse(text) as Line)
      .filter((line) => line.service === service);

  /** The first line of a service that has all of these fields. */
  async function lineOf(service: ServiceName, fields: Record<string, unknown>): Promise<Line> {
    const isIt = (line: Line) => Object.entries(fields).every(([name, value]) => line[name] === value);
    await waitUntil(`a line of ${service}`, () => lines(service).some(isIt), within);
    const [found = { service }] = lines(service).filter(isIt);
    return found;
  }

  /** Takes a table away while `work` runs. */
  async function without(table: string, work: () => Promise<void>): Promise<void> {
    const [schema, name] = table.split('.');
    await database.query(`ALTER TABLE ${table} RENAME TO taken_away`);
    try {
      await work();
    } finally {
      await database.query(`ALTER TABLE ${schema}.taken_away RENAME TO ${name}`);
    }
  }

  it('one finds what an upstream said, in code: the lines of gateway and minting, and the span', async () => {
    const problem = await refusal(agent.lease('away-db/scarce'));
    expect(problem).toMatchObject({ code: 'provider_rejected', status: 502 });
    const trace = { trace_id: problem.trace_id };

    const atMinting = await lineOf('minting', { ...trace, level: 'error' });
    expect(atMinting).toMatchObject({
      integration: 'away-db',
      credential: 'away-db/scarce',
      organization: 'acme',
      lease_id: expect.stringMatching(/^[\da-f-]{36}$/),
      'db.response.status_code': '28P01',
      'error.type': '28P01',
    });
    const about = { lease_id: atMinting['lease_id'], integration: 'away-db' };
    expect(await lineOf('gateway', trace)).toMatchObject({ ...about, code: 'provider_rejected' });

    const isTheMint = ({ name }: { name: string }) => name === 'provider.mint';
    const spans = () => receiver.trace(String(problem.trace_id)).filter(isTheMint);
    await waitUntil('the span of the mint', () => spans().length > 0, within);
    expect(spans()[0]?.attributes).toMatchObject({
      'mayfly.lease.id': about.lease_id,
      'mayfly.integration': 'away-db',
      'mayfly.error.code': 'provider_rejected',
      'db.response.status_code': '28P01',
      'error.type': '28P01',
    });
    // PostgreSQL's words, and what it was asked with.
    for (const place of [texts.join('\n'), receiver.bodies.join('\n')]) {
      expect(place).not.toContain('authentication failed');
      expect(place).not.toContain(password);
    }
  });

  it('one finds the line of policy', async () => {
    await without('policy.reservations', async () => {
      const { code, trace_id } = await refusal(agent.lease('orders-db/readonly'));
      expect(code).toBe('internal');
      expect(await lineOf('policy', { trace_id })).toMatchObject({
        organization: 'acme',
        session_id: expect.any(String),
        credential: 'orders-db/readonly',
        integration: 'orders-db',
        'db.response.status_code': expect.stringMatching(/^42/),
      });
    });
  });

  it('one finds the line of revocation', async () => {
    await without('revocation.fences', async () => {
      const { trace_id } = await refusal(agent.lease('orders-db/readonly'));
      expect(await lineOf('revocation', { trace_id, level: 'error' })).toMatchObject({
        organization: 'acme',
        lease_id: expect.any(String),
        integration: 'orders-db',
        'db.response.status_code': expect.stringMatching(/^42/),
      });
    });
  });

  it('one finds the line of audit, which writes later', async () => {
    await without('audit.chain_head', async () => {
      const { lease_id, trace_id } = await agent.lease('orders-db/readonly');
      expect(await lineOf('audit', { trace_id, lease_id })).toMatchObject({
        organization: 'acme',
        integration: 'orders-db',
        'db.response.status_code': '42P01',
      });
    });
  });
});
