/** A gateway that is told to stop: what is under way is answered, and what still comes is told properly. */
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { waitUntil, type AgentApi } from '@mayfly/stack';
import { openSession, startWholeStack, type TestStack } from '@mayfly/testing';
import pg from 'pg';

const within = { deadlineMs: 30_000 };

describe('a gateway that is told to stop', () => {
  let stack: TestStack;
  let agent: AgentApi;

  beforeAll(async () => {
    stack = await startWholeStack();
    agent = await openSession(stack);
  }, 120_000);
  afterAll(() => stack.stop());

  const { hostname, port } = { hostname: '127.0.0.1', port: () => Number(new URL(stack.gatewayUrl).port) };

  const ask = (socket: Socket): void => {
    const body = JSON.stringify({ credential: 'reports-api/read' });
    socket.write(
      `POST /v1/leases HTTP/1.1\r\nHost: mayfly\r\nAuthorization: Bearer ${agent.sessionToken}\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${String(body.length)}\r\n\r\n${body}`,
    );
  };

  const takesConnections = (): Promise<boolean> =>
    new Promise((resolve) => {
      const probe = connect(port(), hostname, () => {
        probe.destroy();
        resolve(true);
      });
      probe.on('error', () => resolve(false));
    });

  const isDecided = async (): Promise<boolean> => {
    const client = new pg.Client({ connectionString: stack.postgres.databaseUrl });
    await client.connect();
    const { rowCount } = await client.query('SELECT FROM policy.reservations');
    await client.end();
    return rowCount === 1;
  };

  it('answers a mint that is under way, and nothing that comes after it in words of its own', async () => {
    await stack.services.minting.kill('SIGSTOP');
    const socket = connect(port(), hostname);
    const answers = text(socket);
    ask(socket);
    await waitUntil('the decision', isDecided, within);
    await stack.services.gateway.kill('SIGTERM');
    await waitUntil('the stop to begin', async () => !(await takesConnections()), within);
    ask(socket);
    await stack.services.minting.kill('SIGCONT');

    const [first = '', ...later] = (await answers).split(/(?=HTTP\/1\.1 )/u);
    expect(first).toMatch(/^HTTP\/1\.1 201 /u);
    for (const answer of later)
      expect(answer).toMatch(/^HTTP\/1\.1 201 |content-type: application\/problem\+json/iu);
  });
});
