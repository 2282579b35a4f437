import { EventEmitter } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import type { PoolClient } from 'pg';
import type { EventPublisher } from '../events/publisher.ts';
import { OutboxRelay } from './relay.ts';

const logger = { info: () => undefined, warn: () => undefined, error: () => undefined };

describe('OutboxRelay', () => {
  it('lives on when Postgres cuts the connection while events are being published', async () => {
    const statements: string[] = [];
    let released: (broken: unknown) => void = () => undefined;
    const end = new Promise<unknown>((resolve) => (released = resolve));
    const client = Object.assign(new EventEmitter(), {
      query: (text: string) => {
        statements.push(text);
        return Promise.resolve({
          rows: text.startsWith('select') ? [{ sequence: '1', message_id: 'm', event: '{}' }] : [],
        });
      },
      release: released,
    });
    const publisher = {
      publish: () => {
        // As pg tells of it: an event of the client, which ends the process where nobody listens.
        client.emit('error', new Error('Connection terminated unexpectedly'));
        return Promise.resolve({ duplicate: false });
      },
    } as unknown as EventPublisher;
    const relay = new OutboxRelay({
      pool: { connect: () => Promise.resolve(client as unknown as PoolClient) },
      schema: 'policy',
      publisher,
      logger,
      pollMs: 60_000,
    });
    relay.start();
    expect(await end).toBe(false);
    await relay.stop();
    expect(statements.some((text) => text.startsWith('delete'))).toBe(true);
    expect(client.listenerCount('error')).toBe(0);
  });
});
