import 'reflect-metadata';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { bus, defineOperation, MayflyError, subjectOf } from '@mayfly/contracts';
import type { BusOperation, InputOf, OutputOf } from '@mayfly/contracts';
import { Controller, Module } from '@nestjs/common';
import type { INestMicroservice } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventPattern, MessagePattern, Transport } from '@nestjs/microservices';
import { headers } from '@nats-io/transport-node';
import type { NatsConnection } from '@nats-io/transport-node';
import { context, trace } from '@opentelemetry/api';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace';
import { z } from 'zod';
import { connectBus } from '../connection.ts';
import { remainingMs, withDeadline } from '../deadline.ts';
import { startNatsServer } from '../local-nats-server.ts';
import type { LocalNatsServer } from '../local-nats-server.ts';
import { BusClient } from './client.ts';
import { Handles } from './handles.ts';
import { RpcServer } from './server.ts';

const spans = new InMemorySpanExporter();
const telemetry = new NodeSDK({
  spanProcessors: [new SimpleSpanProcessor({ exporter: spans })],
  autoDetectResources: false,
  metricReaders: [],
  logRecordProcessors: [],
});

function operation<I extends z.ZodType, O extends z.ZodType>(
  name: string,
  input: I,
  output: O,
  more: { vital?: boolean } = {},
) {
  return defineOperation({
    name: `policy.${name}`,
    summary: name,
    bus: { service: 'policy', operation: name, callers: ['gateway'], timeoutMs: 2_000, ...more },
    input,
    output,
    errors: [],
  });
}

const echo = operation(
  'echo',
  z.strictObject({ text: z.string().max(10), times: z.int().default(1) }),
  z.strictObject({ text: z.string(), trace: z.string().optional() }),
);
const nested = operation(
  'nested',
  z.strictObject({}),
  z.strictObject({ outer: z.number(), inner: z.number() }),
);
const time = operation('time', z.strictObject({}), z.strictObject({ left: z.number() }));
const refuse = operation('refuse', z.strictObject({}), z.strictObject({}));
const crash = operation('crash', z.strictObject({}), z.strictObject({}));
const leak = operation('leak', z.strictObject({}), z.strictObject({}));
const hang = operation('hang', z.strictObject({}), z.strictObject({}));
const end = operation('end', z.strictObject({}), z.strictObject({}), { vital: true });
const hangingEnd = operation('hanging-end', z.strictObject({}), z.strictObject({}), { vital: true });
const large = operation('large', z.strictObject({}), z.strictObject({ text: z.string() }));
const silent = operation('silent', z.strictObject({}), z.strictObject({}));

let client: BusClient;
let release: (() => void)[] = [];

@Controller()
class PolicyHandlers {
  @Handles(echo)
  echo(input: InputOf<typeof echo>): OutputOf<typeof echo> {
    const traceId = trace.getActiveSpan()?.spanContext().traceId;
    return { text: input.text.repeat(input.times), ...(traceId === undefined ? {} : { trace: traceId }) };
  }
  @Handles(time)
  time() {
    return { left: remainingMs() };
  }
  @Handles(nested)
  async nested() {
    const outer = remainingMs();
    const { left } = await client.call(time, {});
    return { outer, inner: left };
  }
  @Handles(refuse)
  refuse() {
    throw new MayflyError('policy_denied', 'not for you', { cause: new Error('the full why') });
  }
  @Handles(crash)
  crash() {
    throw new Error('password=hunter2');
  }
  @Handles(leak)
  leak() {
    return { secret: 'hunter2' };
  }
  @Handles(hang)
  async hang() {
    await new Promise<void>((resolve) => release.push(resolve));
    return {};
  }
  @Handles(end)
  end() {
    return {};
  }
  @Handles(hangingEnd)
  hangingEnd() {
    return this.hang();
  }
  @Handles(large)
  large() {
    return { text: 'x'.repeat(2 * 1024 * 1024) };
  }
}

describe('RPC over a real nats-server', () => {
  let nats: LocalNatsServer;
  let connection: NatsConnection;
  let callerConnection: NatsConnection;
  let app: INestMicroservice;
  const logged: unknown[] = [];
  const handled: string[] = [];
  const called: string[] = [];

  function serve(controller: new () => object, more: { maxConcurrent?: number; maxVital?: number } = {}) {
    @Module({ controllers: [controller] })
    class App {}
    return NestFactory.createMicroservice(App, {
      logger: false,
      strategy: new RpcServer({
        connection,
        service: 'policy',
        logger: { error: (fields) => logged.push(fields) },
        onHandled: (name, code) => handled.push(`${name} ${code}`),
        ...more,
      }),
    });
  }

  beforeAll(async () => {
    telemetry.start();
    nats = await startNatsServer();
    connection = await connectBus({ servers: nats.url, service: 'policy' });
    callerConnection = await connectBus({ servers: nats.url, service: 'gateway' });
    client = new BusClient(callerConnection, { onCall: (name, code) => called.push(`${name} ${code}`) });
    app = await serve(PolicyHandlers, { maxConcurrent: 8, maxVital: 4 });
    await app.listen();
    await connection.flush();
  });
  afterAll(async () => {
    await app?.close();
    await Promise.all([connection?.close(), callerConnection?.close()]);
    await nats?.stop();
    await telemetry.shutdown();
  });

  /** What the service answers to bytes that no client of ours would send. */
  async function raw(operation: BusOperation, payload: string, more = headers()): Promise<unknown> {
    const reply = await callerConnection.request(subjectOf(operation), payload, {
      timeout: 2_000,
      headers: more,
    });
    return reply.json<unknown>();
  }
  async function failure(call: Promise<unknown>) {
    const error: unknown = await call.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    return error instanceof MayflyError ? { code: error.code, reason: error.reason } : error;
  }

  it('answers with the parsed input, in the trace of the caller', async () => {
    spans.reset();
    const parent = trace.getTracer('test').startSpan('parent');
    const output = await context.with(trace.setSpan(context.active(), parent), () =>
      client.call(echo, { text: 'ab', times: 2 }),
    );
    expect(output).toEqual({ text: 'abab', trace: parent.spanContext().traceId });
    const [server, sender] = spans.getFinishedSpans();
    expect(sender?.parentSpanContext?.spanId).toBe(parent.spanContext().spanId);
    expect(server?.parentSpanContext?.spanId).toBe(sender?.spanContext().spanId);
    expect(server?.attributes).toMatchObject({
      'messaging.system': 'nats',
      'messaging.destination.name': 'mayfly.rpc.policy.echo',
    });
    expect((await client.call(echo, { text: 'ab' })).text).toBe('ab');
    expect(handled.at(-1)).toBe('policy.echo ok');
    expect(called.at(-1)).toBe('policy.echo ok');
  });

  it('passes on the code and reason of a refusal, not its cause', async () => {
    expect(await failure(client.call(refuse, {}))).toEqual({ code: 'policy_denied', reason: 'not for you' });
    expect(await raw(refuse, '{}')).toEqual({ error: { code: 'policy_denied', reason: 'not for you' } });
  });

  it('tells a defect as internal and logs it', async () => {
    logged.length = 0;
    expect(await raw(crash, '{}')).toEqual({ error: { code: 'internal', reason: 'internal error' } });
    expect(String((logged[0] as { err: unknown }).err)).toContain('hunter2');
  });

  it('does not let out a field that the output does not have', async () => {
    expect(await raw(leak, '{}')).toEqual({ error: { code: 'internal', reason: 'internal error' } });
  });

  it('answers internal when the output is larger than the bus carries', async () => {
    expect(await failure(client.call(large, {}))).toMatchObject({ code: 'internal' });
  });

  it('refuses bad input with where and what, without its values', async () => {
    expect(await raw(echo, '{"text":"12345678901","surplus":1}')).toEqual({
      error: {
        code: 'invalid_request',
        reason: expect.stringMatching(/^text: .*; Unrecognized key: "surplus"$/) as unknown,
      },
    });
    expect(await raw(echo, '{')).toEqual({ error: { code: 'invalid_request', reason: 'not JSON' } });
    expect(await raw(echo, '')).toEqual({ error: { code: 'invalid_request', reason: 'not JSON' } });
    const deep = `{"text":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
    expect(await raw(echo, deep)).toEqual({
      error: { code: 'invalid_request', reason: 'nested too deeply' },
    });
  });

  it('says which service does not answer', async () => {
    expect(await failure(client.call(bus.audit.leaseTimeline, { assertion: 'a.b.c', lease_id: '' }))).toEqual(
      {
        code: 'dependency_unavailable',
        reason: 'audit is not available',
      },
    );
    expect(await failure(client.call(silent, {}))).toMatchObject({ code: 'dependency_unavailable' });
    expect(await failure(client.call(hang, {}, { timeoutMs: 50 }))).toEqual({
      code: 'dependency_unavailable',
      reason: 'policy did not answer in time',
    });
    release.forEach((done) => done());
    release = [];
  });

  it('does not accept an answer that breaks the contract', async () => {
    const subscription = connection.subscribe(subjectOf(silent), {
      callback: (_, message) => {
        message.respond(message.string().includes('x') ? 'x' : '{"ok":{"more":1}}');
      },
    });
    await connection.flush();
    const unreadable = {
      code: 'dependency_unavailable',
      reason: 'policy gave an answer that cannot be read',
    };
    expect(await failure(client.call(silent, {}))).toEqual(unreadable);
    expect(await failure(client.call(silent, { x: 1 } as never))).toEqual(unreadable);
    subscription.unsubscribe();
  });

  it('gives a nested call no more time than the request has left', async () => {
    const { outer, inner } = await client.call(nested, {}, { timeoutMs: 700 });
    expect(outer).toBeGreaterThan(0);
    expect(outer).toBeLessThanOrEqual(700);
    expect(inner).toBeLessThanOrEqual(outer + 1);
    expect(await failure(withDeadline(0, () => client.call(echo, { text: 'a' })))).toMatchObject({
      code: 'dependency_unavailable',
    });
  });

  it('does not begin what its caller has long given up', async () => {
    const late = headers();
    late.set('mayfly-deadline', String(Date.now() - 60_000));
    expect(await raw(echo, '{"text":"a"}', late)).toEqual({
      error: { code: 'dependency_unavailable', reason: 'deadline passed' },
    });
  });

  it('refuses at once what comes above its concurrency', async () => {
    const calls = Array.from({ length: 8 }, () => client.call(hang, {}));
    expect(await failure(client.call(echo, { text: 'a' }))).toEqual({
      code: 'dependency_unavailable',
      reason: 'policy is overloaded',
    });
    release.forEach((done) => done());
    release = [];
    await Promise.all(calls);
  });

  it('answers what is vital while all other places are held, and the others while all of its own are', async () => {
    const overloaded = { code: 'dependency_unavailable', reason: 'policy is overloaded' };
    const calls = Array.from({ length: 8 }, () => client.call(hang, {}));
    expect(await failure(client.call(echo, { text: 'a' }))).toEqual(overloaded);
    expect(await client.call(end, {})).toEqual({});
    const ends = Array.from({ length: 4 }, () => client.call(hangingEnd, {}));
    expect(await failure(client.call(end, {}))).toEqual(overloaded);
    release.forEach((done) => done());
    release = [];
    await Promise.all([...calls, ...ends]);

    const moreEnds = Array.from({ length: 4 }, () => client.call(hangingEnd, {}));
    expect(await failure(client.call(end, {}))).toEqual(overloaded);
    expect(await client.call(echo, { text: 'a' })).toMatchObject({ text: 'a' });
    release.forEach((done) => done());
    release = [];
    await Promise.all(moreEnds);
  });

  it('fails at once when the bus goes down, and works again when it is back', async () => {
    const waiting = failure(client.call(hang, {}, { timeoutMs: 20_000 }));
    await callerConnection.flush();
    await nats.kill();
    expect(await waiting).toMatchObject({ code: 'dependency_unavailable' });
    expect(await failure(client.call(echo, { text: 'a' }))).toMatchObject({ code: 'dependency_unavailable' });
    release.forEach((done) => done());
    await nats.restart();
    const deadline = Date.now() + 15_000;
    let text: string | undefined;
    while (text === undefined && Date.now() < deadline) {
      text = await client.call(echo, { text: 'a' }).then(
        (output) => output.text,
        () => new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), 50)),
      );
    }
    expect(text).toBe('a');
  }, 30_000);

  it('refuses to start with a handler that has no operation, or is not of this service', async () => {
    @Controller()
    class NoOperation {
      @MessagePattern('mayfly.rpc.policy.open')
      open() {
        return {};
      }
    }
    @Controller()
    class NestsOwn {
      @MessagePattern('mayfly.rpc.policy.open', Transport.NATS)
      open() {
        return {};
      }
    }
    @Controller()
    class AnEvent {
      @EventPattern('mayfly.events.session.closed')
      closed(event: unknown) {
        void event;
        return undefined;
      }
    }
    @Controller()
    class Foreign {
      @Handles(bus.audit.leaseTimeline)
      timeline() {
        return {};
      }
    }
    @Controller()
    class Twice {
      @Handles(echo)
      one() {
        return {};
      }
      @Handles(echo)
      two() {
        return {};
      }
    }
    for (const controller of [NoOperation, NestsOwn, AnEvent, Foreign, Twice]) {
      const refused = serve(controller).then((one) => one.listen() as Promise<unknown>);
      await expect(refused).rejects.toThrow(/no operation|belongs to|two handlers/);
    }
  });

  it('enumerates the operations of its service that nobody handles', () => {
    const server = new RpcServer({ connection, service: 'audit' });
    expect(server.unhandledOperations().map((one) => one.name)).toEqual([
      'audit.lease-timeline',
      'audit.query-events',
    ]);
  });
});
