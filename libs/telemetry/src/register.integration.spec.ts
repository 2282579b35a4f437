/**
 * A whole process started with `--import register.js` (built, so `npm run build` first), against a real Postgres and an
 * OTLP receiver: which spans it sends, how they hang together, and that none holds what passed through.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { spawn } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

const folder = join(import.meta.dirname, '..');
const secret = 'hunter2hunter2';
const claimed = '198.51.100.66';
const caller = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00';

/** A small service: a Fastify route that queries Postgres and calls itself by node:http and by fetch. */
const service = `
import { get } from 'node:http';
import { connect } from 'node:net';
import Fastify from 'fastify';
import pg from 'pg';
import { createLogger, currentTraceparent, shutdownTelemetry } from '@mayfly/telemetry';

const logger = createLogger({ service: 'gateway' });
const pool = new pg.Pool({ connectionString: process.env.POSTGRES });
await pool.query('SELECT 1 AS background');
const app = Fastify();
app.post('/v1/leases', async () => {
  await pool.query({ name: 'find-lease', text: 'SELECT $1::text AS lease', values: ['${secret}'] });
  await pool.query("SELECT '${secret}'");
  await pool.query("SELECT '${secret}'::uuid").catch(() => undefined);
  await pool.query("ALTER ROLE no_such_role_${secret} PASSWORD '${secret}'").catch(() => undefined);
  const own = 'http://127.0.0.1:' + app.server.address().port;
  await new Promise((resolve) => get(own + '/healthz?token=${secret}', (res) => res.resume().on('end', resolve)));
  await fetch(own + '/v1/other?token=${secret}');
  logger.info({ token: '${secret}' }, 'issued');
  return { traceparent: currentTraceparent() ?? null };
});
app.get('/v1/other', () => ({}));
app.get('/healthz', () => ({}));
await app.listen({ host: '127.0.0.1', port: 0 });
// Over a bare socket, so that the traceparent is the caller's and not one of an instrumented client.
const post = (body) => new Promise((resolve) => {
  const head = ['POST /v1/leases?secret=${secret} HTTP/1.1', 'host: x', 'connection: close', 'traceparent: ${caller}',
    'x-forwarded-for: ${claimed}', 'forwarded: for=${claimed}',
    'content-type: application/json', 'content-length: ' + body.length, '', body].join('\\r\\n');
  let text = '';
  connect(app.server.address().port, '127.0.0.1').on('data', (data) => (text += data)).on('close', () => resolve(text)).write(head);
});
console.log(await post('{}'));
await post('{"${secret}": ${secret}}');
await app.close();
await pool.end();
await shutdownTelemetry();
`;

interface OtlpSpan {
  name: string;
  kind: number;
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  attributes: { key: string; value: unknown }[];
}

describe('a process with telemetry registered', () => {
  const bodies: string[] = [];
  let receiver: Server;

  beforeAll(async () => {
    receiver = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8');
      request.on('data', (chunk: string) => (body += chunk));
      request.on('end', () => {
        bodies.push(body);
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
      });
    });
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  });

  afterAll(() => new Promise((resolve) => receiver.close(resolve)));

  function runService(
    env: Record<string, string>,
  ): Promise<{ status: number | null; stdout: string; stderr: string }> {
    const register = join(folder, 'dist', 'register.js');
    const child = spawn(process.execPath, ['--import', register, '--input-type=module', '-e', service], {
      cwd: folder,
      env: {
        PATH: process.env['PATH'],
        OTEL_SERVICE_NAME: 'mayfly-gateway',
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`,
        OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
        POSTGRES: process.env['MAYFLY_TEST_POSTGRES_URL'],
        ...env,
      },
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
    return new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (status) => resolve({ status, stdout, stderr }));
    });
  }

  function spans(): OtlpSpan[] {
    type Export = { resourceSpans: { scopeSpans: { spans: OtlpSpan[] }[] }[] };
    return bodies
      .map((body) => JSON.parse(body) as Export)
      .flatMap(({ resourceSpans }) => resourceSpans)
      .flatMap(({ scopeSpans }) => scopeSpans)
      .flatMap((scope) => scope.spans);
  }

  it('sends one connected issuance trace although the caller asked for none, and no secret in it', async () => {
    const { status, stdout, stderr } = await runService({ OTEL_TRACES_SAMPLER: 'parentbased_always_off' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(bodies.join('')).not.toContain(secret);
    expect(stdout).not.toContain(secret);
    // Nor an address that a caller claims to have.
    expect(bodies.join('')).not.toContain(claimed);
    expect(bodies.join('')).toContain('{"key":"client.address","value":{"stringValue":"127.0.0.1"}}');

    const trace = spans().filter(({ traceId }) => traceId === '0af7651916cd43dd8448eb211c80319c');
    const names = trace.map(({ name }) => name);
    expect(names.filter((name) => name.startsWith('pg.query')).sort()).toEqual([
      'pg.query:ALTER postgres',
      'pg.query:SELECT postgres',
      'pg.query:SELECT postgres',
      'pg.query:find-lease postgres',
    ]);
    // Everything hangs together: only the server spans of the two requests are children of the caller's span.
    const ids = new Set(trace.map(({ spanId }) => spanId));
    const outermost = trace.filter(({ parentSpanId = '' }) => !ids.has(parentSpanId));
    expect(outermost).toMatchObject(
      Array.from({ length: 2 }, () => ({
        name: 'POST /v1/leases',
        kind: 2,
        parentSpanId: 'b7ad6b7169203331',
      })),
    );
    // The client spans of node:http and fetch, and the far side of the fetch.
    const urls = trace.flatMap(({ attributes }) => attributes.filter(({ key }) => key === 'url.full'));
    expect(JSON.stringify(urls)).toMatch(/healthz/);
    expect(JSON.stringify(urls)).toMatch(/v1\/other/);
    // Probes have no server span, background queries no trace.
    expect(JSON.stringify(spans().filter(({ kind }) => kind === 2))).not.toContain('healthz');
    expect(JSON.stringify(spans())).not.toContain('background');

    const line = stdout.split('\n').find((text) => text.includes('"msg":"issued"')) ?? '{}';
    expect(JSON.parse(line)).toMatchObject({
      service: 'gateway',
      trace_id: '0af7651916cd43dd8448eb211c80319c',
      trace_flags: '01',
      token: '[redacted]',
    });
  });

  it.each(['OTEL_TRACES_EXPORTER=none', 'OTEL_SDK_DISABLED=true'])(
    'sends nothing with %s, and traces have ids all the same',
    async (setting) => {
      const [name = '', value = ''] = setting.split('=');
      bodies.length = 0;
      const { status, stdout } = await runService({ [name]: value });
      expect(status).toBe(0);
      expect(bodies).toEqual([]);
      // Not sampled: nothing is recorded where nobody gets to see it.
      expect(stdout).toMatch(/"traceparent":"00-0af7651916cd43dd8448eb211c80319c-[\da-f]{16}-00"/);
    },
  );
});
