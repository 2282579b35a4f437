import 'reflect-metadata';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { defineOperation, MayflyError, presenceSubject } from '@mayfly/contracts';
import { Controller, Module, type INestMicroservice } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NatsConnection } from '@nats-io/transport-node';
import { z } from 'zod';
import { connectBus } from '../connection.ts';
import { startNatsServer, waitUntil, type LocalNatsServer } from '../local-nats-server.ts';
import { BusClient } from './client.ts';
import { Handles } from './handles.ts';
import { RpcServer } from './server.ts';

/** By their names, what the gateway may ask minting: each service has an account of its own here, as in production. */
const operation = (name: string) =>
  defineOperation({
    name: `minting.${name}`,
    summary: name,
    bus: { service: 'minting', operation: name, callers: ['gateway'], timeoutMs: 60_000 },
    input: z.strictObject({}),
    output: z.strictObject({}),
    errors: [],
  });
const slow = operation('issue');
const quick = operation('tool-token-keys');

let begun = 0;
let release: (() => void)[] = [];

@Controller()
class Minting {
  @Handles(slow)
  async slow() {
    begun++;
    await new Promise<void>((resolve) => release.push(resolve));
    return {};
  }
  @Handles(quick)
  quick() {
    return {};
  }
}

describe('a service that is called', () => {
  let nats: LocalNatsServer;
  let gateway: NatsConnection;
  let client: BusClient;
  let told: string[];
  const open: (NatsConnection | INestMicroservice)[] = [];

  const connectAs = async (service: 'gateway' | 'minting') => {
    const connection = await connectBus({ servers: nats.url, service, seedFile: nats.seedFile(service) });
    open.push(connection);
    return connection;
  };
  /** A replica of minting; ends as a process does that is killed. */
  const startMinting = async () => {
    const connection = await connectAs('minting');
    @Module({ controllers: [Minting] })
    class App {}
    const app = await NestFactory.createMicroservice(App, {
      logger: false,
      strategy: new RpcServer({ connection, service: 'minting' }),
    });
    open.push(app);
    await app.listen();
    await connection.flush();
    return { app, connection, kill: () => connection.close() };
  };
  const codeOf = (call: Promise<unknown>) =>
    call.then(
      () => 'ok',
      (error: unknown) => (error instanceof MayflyError ? `${error.code}: ${error.reason}` : error),
    );
  const isAway = 'dependency_unavailable: minting does not answer; it is tried again in a moment';
  const answers = () => codeOf(client.call(quick, {})).then((code) => code === 'ok');

  beforeAll(async () => {
    nats = await startNatsServer({ enforced: true });
  });
  beforeEach(async () => {
    begun = 0;
    gateway = await connectAs('gateway');
    told = [];
    client = new BusClient(gateway, {
      onPresence: (service, isAway) => told.push(`${service} ${isAway ? 'away' : 'back'}`),
    });
  });
  afterEach(async () => {
    for (const done of release) done();
    release = [];
    for (const one of open.splice(0).reverse()) await one.close();
  });
  afterAll(() => nats?.stop());

  it('and dies fails what waits for it long before its timeout, is refused at once, and is called again when it is back', async () => {
    const first = await startMinting();
    const waiting = [codeOf(client.call(slow, {})), codeOf(client.call(slow, {}))];
    await waitUntil('both are being handled', () => begun === 2);
    await first.kill();
    expect(await Promise.all(waiting)).toEqual([isAway, isAway]);
    expect(await codeOf(client.call(quick, {}))).toBe(isAway);

    await startMinting();
    await waitUntil('it is called again', answers);
    expect(told).toEqual(['minting away', 'minting back']);
  });

  it('and is there again before anybody has noticed fails what the dead process had, and nothing that the new one has', async () => {
    const first = await startMinting();
    const lost = codeOf(client.call(slow, {}));
    await waitUntil('it is being handled', () => begun === 1);
    const { connection } = await startMinting();
    await first.kill();
    const kept = codeOf(client.call(slow, {}));
    await waitUntil('the other is being handled', () => begun === 2);
    expect(await lost).toBe(isAway);
    let questions = 0;
    connection.subscribe(presenceSubject('minting'), { callback: () => void questions++ });
    await waitUntil('it has been asked several times', () => questions >= 4);
    for (const done of release) done();
    expect(await kept).toBe('ok');
    expect(told).toEqual([]);
  });

  it('and works for long is left to it for as long as it says that it is there', async () => {
    const { connection } = await startMinting();
    let questions = 0;
    connection.subscribe(presenceSubject('minting'), { callback: () => void questions++ });
    const waiting = codeOf(client.call(slow, {}));
    await waitUntil('it has been asked several times', () => questions >= 4);
    for (const done of release) done();
    expect(await waiting).toBe('ok');
  });

  it('and stops finishes what it has, and is away for what comes after', async () => {
    const { app, connection } = await startMinting();
    const kept = codeOf(client.call(slow, {}));
    await waitUntil('it is being handled', () => begun === 1);
    const stopped = app.close();
    await connection.flush();
    const late = codeOf(client.call(quick, {}));
    for (const done of release) done();
    expect(await kept).toBe('ok');
    expect(await late).toBe(isAway);
    await stopped;
  });

  it('and has another replica that hangs is there', async () => {
    await startMinting();
    const hanging = await connectAs('minting');
    let questions = 0;
    for (const queue of [undefined, 'minting'])
      hanging.subscribe(presenceSubject('minting'), {
        ...(queue === undefined ? {} : { queue }),
        callback: () => void questions++,
      });
    await hanging.flush();
    const waiting = codeOf(client.call(slow, {}));
    await waitUntil('both have been asked several times', () => questions >= 4);
    expect(await answers()).toBe(true);
    for (const done of release) done();
    expect(await waiting).toBe('ok');
  });

  it('is not taken for dead because the bus is away', async () => {
    await startMinting();
    const waiting = codeOf(client.call(slow, {}));
    await waitUntil('it is being handled', () => begun === 1);
    await nats.kill();
    expect(await waiting).toContain('the bus is disconnected');
    expect(await codeOf(client.call(quick, {}))).toContain('the bus is disconnected');
    await nats.restart();
    await waitUntil('calls work again', answers, { deadlineMs: 15_000 });
    expect(told).toEqual([]);
  }, 30_000);

  it('and is away is not taken to be back because the bus is away too', async () => {
    const only = await startMinting();
    const waiting = codeOf(client.call(slow, {}));
    await waitUntil('it is being handled', () => begun === 1);
    await only.kill();
    expect(await waiting).toBe(isAway);
    await nats.kill();
    await waitUntil('the bus is away', async () =>
      String(await codeOf(client.call(quick, {}))).includes('the bus is disconnected'),
    );
    expect(told).toEqual(['minting away']);
    await nats.restart();
    await startMinting();
    await waitUntil('it is called again', answers, { deadlineMs: 15_000 });
    expect(told).toEqual(['minting away', 'minting back']);
  }, 30_000);

  it('answers whatever is asked, and for no longer than it has been there', async () => {
    await startMinting();
    const raw = (question: string) =>
      gateway.request(presenceSubject('minting'), question, { timeout: 1_000 }).then(
        (answer) => answer.string(),
        () => 'none',
      );
    expect(await raw('0')).toMatch(/^\d+$/);
    expect(await raw('no number')).toMatch(/^\d+$/);
    expect(await raw('999999999999999')).toBe('none');
  });
});
