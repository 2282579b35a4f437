import { randomUUID } from 'node:crypto';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MayflyError } from '@mayfly/contracts';
import { withDeadline } from '@mayfly/messaging';
import { PostgresProvider } from '../providers/postgres/postgres-provider.ts';
import { ProviderRunner } from '../providers/provider-runner.ts';
import { SecretReader } from '../secrets/secret-reader.ts';
import { EndAtProvider } from './end-at-provider.ts';

const connectTimeoutMs = 1_000;

describe('an end at an upstream that takes connections and never answers', () => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    sockets.push(socket);
  });
  let provider: PostgresProvider;
  let ends: EndAtProvider;

  beforeEach(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    provider = new PostgresProvider({
      maxConnections: 4,
      statementTimeoutMs: 5_000,
      connectTimeoutMs,
      groupFreshMs: 60_000,
    });
    const nobody = { verify: () => Promise.reject(new MayflyError('unauthenticated', 'no')) };
    ends = new EndAtProvider({
      handles: {
        seal: () => Promise.reject(new Error('nothing is sealed here')),
        open: () =>
          Promise.resolve({
            version: 1,
            provider: 'postgres',
            integration_settings: { admin: 'env:SHOP' },
            secret_references: ['env:SHOP'],
            handle: { revocation_statements: [], narrowed: false },
          }),
      },
      orders: nobody,
      sweeps: nobody,
      runner: new ProviderRunner({
        providers: new Map([['postgres', provider]]),
        secrets: new SecretReader({
          ownPaths: [],
          environment: { SHOP: `postgres://admin:pw@127.0.0.1:${port}/shop` },
        }),
        deadlineMs: 20_000,
      }),
    });
  });
  afterEach(async () => {
    await provider.close();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });

  it('is told as under way while its caller waits, and in the end as the failure of the upstream', async () => {
    const input = {
      lease_id: randomUUID(),
      organization: 'acme',
      integration: 'shop-db',
      provider: 'postgres',
      handle: 'a.b.c.d.e',
    };
    const started = performance.now();
    const outcomes: string[] = [];
    while (performance.now() - started < 10 * connectTimeoutMs) {
      const outcome = await withDeadline(400, () => ends.revoke(input)).then(
        (answer) => answer.outcome,
        (error: unknown) => (error as MayflyError).code,
      );
      outcomes.push(outcome);
      if (outcome !== 'under_way') break;
    }
    expect(outcomes.length).toBeGreaterThan(1);
    expect(outcomes.at(-1)).toBe('provider_unavailable');
    // However often it is asked, the upstream is tried once.
    expect(sockets).toHaveLength(1);
  });
});
