import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Counter, Registry } from 'prom-client';
import { listenForOperations, type OperationsListener } from './operations-listener.ts';
import { Readiness } from './readiness.ts';

describe('the operations listener', () => {
  let listener: OperationsListener;
  let readiness: Readiness;
  let isUp: boolean;
  let checks: number;
  let held: Promise<void>;

  beforeEach(async () => {
    [isUp, checks, held] = [true, 0, Promise.resolve()];
    readiness = new Readiness();
    readiness.add('nats', async () => {
      checks++;
      await held;
      return isUp;
    });
    const metrics = new Registry();
    new Counter({ name: 'mayfly_things_total', help: 'x', registers: [metrics] }).inc();
    listener = await listenForOperations({ port: 0, bind: '127.0.0.1', readiness, metrics });
  });
  afterEach(() => listener.close());

  const ask = async (path: string, method = 'GET') => {
    const response = await fetch(`${listener.url}${path}`, { method });
    return { status: response.status, headers: response.headers, body: await response.text() };
  };

  it('tells whether the service lives, may take work, and its metrics', async () => {
    expect(await ask('/healthz')).toMatchObject({ status: 200, body: '{"status":"ok"}' });
    expect(await ask('/readyz')).toMatchObject({
      status: 200,
      body: '{"status":"ready","checks":{"nats":true}}',
    });
    const { status, headers, body } = await ask('/metrics');
    expect([status, headers.get('content-type')]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
    expect(body).toContain('mayfly_things_total 1');
  });

  it('says what is missed, and that it stops', async () => {
    isUp = false;
    expect(await ask('/readyz')).toMatchObject({
      status: 503,
      body: '{"status":"not ready","checks":{"nats":false}}',
    });
    isUp = true;
    readiness.stop();
    expect((await ask('/readyz')).status).toBe(503);
  });

  it('has nothing else, and no other method', async () => {
    for (const path of ['/', '/v1/leases', '/openapi.json', '/metrics/', '/constructor', '/__proto__'])
      expect([path, (await ask(path)).status]).toEqual([path, 404]);
    const posted = await ask('/metrics', 'POST');
    expect([posted.status, posted.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
    expect(await ask('/readyz', 'HEAD')).toMatchObject({ status: 200, body: '' });
  });

  it('does its checks once for all who ask at the same time', async () => {
    let release: () => void = () => undefined;
    held = new Promise((resolve) => (release = resolve));
    const asking = Array.from({ length: 20 }, () => ask('/readyz'));
    for (let i = 0; i < 5; i++) await ask('/healthz');
    expect(checks).toBe(1);
    release();
    for (const { status } of await Promise.all(asking)) expect(status).toBe(200);
  });

  it('keeps no connection, and turns away those that are too many', async () => {
    const { port, hostname } = new URL(listener.url);
    const open = Array.from({ length: 64 }, () => connect(Number(port), hostname));
    await Promise.all(open.map((socket) => new Promise((resolve) => socket.once('connect', resolve))));
    const another = connect(Number(port), hostname);
    another.on('error', () => undefined);
    expect(await text(another).catch(() => 'cut')).toMatch(/^$|cut/);
    for (const socket of open) socket.destroy();
    for (;;) {
      const answer = await ask('/healthz').catch(() => undefined);
      if (answer !== undefined) {
        expect(answer.headers.get('connection')).toBe('close');
        break;
      }
    }
  });
});
