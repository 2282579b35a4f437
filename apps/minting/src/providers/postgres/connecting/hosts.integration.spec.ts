/** Several hosts in one admin URL, in libpq's order: a server that takes writes, a standby, and what only looks like a server. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { chmodSync, chownSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { startPostgres, type OwnPostgres } from '@mayfly/stack/postgres';
import { deadlineIn } from '../../deadline.ts';
import { ProviderRejected, ProviderUnavailable, type ProviderFailure } from '../../provider-error.ts';
import { AdminDatabase } from '../admin-database.ts';
import { makeCertificate } from './certificates.fixture.ts';
import { errorResponse, FakePostgres, type FakeAnswers } from './fake-postgres.fixture.ts';
import { ParameterDroppingPooler } from './parameter-dropping-pooler.fixture.ts';

const limits = { maxConnections: 2, statementTimeoutMs: 2_000, connectTimeoutMs: 2_000 };

let folder: string;
let primary: OwnPostgres;
let standby: OwnPostgres;
/** Of a superuser of both servers. */
const password = 'hunter1';
const fakes: { stop: () => Promise<void> }[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mayfly-hosts-'));
  chmodSync(folder, 0o711);
  const start = (name: string) =>
    startPostgres({
      dataDirectory: join(folder, name),
      removeOnStop: true,
      settings: { fsync: 'off' },
    });
  [primary, standby] = await Promise.all([start('primary'), start('standby')]);
  for (const { adminUrl } of [primary, standby])
    await query(adminUrl, `CREATE ROLE spec SUPERUSER LOGIN PASSWORD '${password}'`);
  // A server that was stopped in order needs nothing else to come back as a standby of nobody.
  await query(standby.adminUrl, 'CHECKPOINT');
  const signal = join(standby.clusterFolder, 'standby.signal');
  writeFileSync(signal, '');
  const { uid, gid } = statSync(standby.clusterFolder);
  chownSync(signal, uid, gid);
  await standby.restart();
});
afterAll(async () => {
  await Promise.all([primary.stop(), standby.stop()]);
  rmSync(folder, { recursive: true, force: true });
});
afterEach(async () => {
  await Promise.all(fakes.splice(0).map((fake) => fake.stop()));
});

async function fake(answers: FakeAnswers): Promise<FakePostgres> {
  const started = await FakePostgres.start(answers);
  fakes.push(started);
  return started;
}

/** Where nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const database = new AdminDatabase(url, limits);
  try {
    return [...((await database.run(text, deadlineIn(20_000))).at(-1) ?? [])];
  } finally {
    await database.close();
  }
}

const urlOf = (ports: readonly number[], parameters = '') =>
  `postgres://spec:${password}@${ports.map((port) => `127.0.0.1:${port}`).join(',')}/postgres?${parameters}`;

/** The port of the server that is had. */
async function reached(ports: readonly number[], parameters?: string): Promise<unknown> {
  const rows = await query(urlOf(ports, parameters), 'SELECT inet_server_port() AS port');
  return rows[0]?.['port'];
}

async function failure(ports: readonly number[], parameters?: string): Promise<ProviderFailure> {
  const failed = await query(urlOf(ports, parameters), 'SELECT 1').then(
    () => new Error('it was reached'),
    (error: unknown) => error,
  );
  if (!(failed instanceof ProviderRejected || failed instanceof ProviderUnavailable)) throw failed;
  const printed = inspect(failed, { depth: 9, showHidden: true });
  for (const part of ['127.0.0.1', password, ...ports.map(String)]) expect(printed).not.toContain(part);
  expect(failed.effect).toBe('none');
  return failed;
}

describe('an admin URL with several hosts', () => {
  it('leads to the first that can be reached', async () => {
    const closed = await closedPort();
    expect(await reached([closed, primary.port])).toBe(primary.port);
    const starting = await fake({
      toStartUp: () => errorResponse('57P03', 'the database system is starting up'),
    });
    expect(await reached([starting.port, primary.port])).toBe(primary.port);
  });

  it('leads past one that takes connections and never answers, while there is time', async () => {
    const silent = await fake({ toSslRequest: 'silence' });
    expect(await reached([silent.port, primary.port])).toBe(primary.port);
    const slow = await fake({ toStartUp: () => 'silence' });
    expect(await reached([slow.port, primary.port], 'connect_timeout=1')).toBe(primary.port);
  });

  it.each([
    { attributes: undefined, leadsTo: 'primary' },
    { attributes: 'any', leadsTo: 'standby' },
    { attributes: 'read-write', leadsTo: 'primary' },
    { attributes: 'primary', leadsTo: 'primary' },
    { attributes: 'read-only', leadsTo: 'standby' },
    { attributes: 'standby', leadsTo: 'standby' },
    { attributes: 'prefer-standby', leadsTo: 'standby' },
  ])(
    'of which the standby comes first leads to the $leadsTo with $attributes',
    async ({ attributes, leadsTo }) => {
      const parameters = attributes === undefined ? '' : `target_session_attrs=${attributes}`;
      const ports = { primary: primary.port, standby: standby.port };
      expect(await reached([standby.port, primary.port], parameters)).toBe(
        ports[leadsTo as keyof typeof ports],
      );
    },
  );

  it('leads to any when a standby is only preferred', async () => {
    expect(await reached([primary.port], 'target_session_attrs=prefer-standby')).toBe(primary.port);
  });

  it('of which none has the attributes is refused with a sentence that says so', async () => {
    const refusal = await failure([standby.port, standby.port]);
    expect(refusal).toMatchObject({
      code: 'provider_rejected',
      reason: expect.stringMatching(/^none of the servers that the admin URL names is read-write/),
    });
    const other = await failure([primary.port], 'target_session_attrs=standby');
    expect(other.reason).toMatch(/^none of the servers that the admin URL names is standby/);
  });

  it('of which the one with the attributes may be away can be tried again', async () => {
    const failed = await failure([standby.port, await closedPort()]);
    expect(failed).toMatchObject({
      code: 'provider_unavailable',
      reason: expect.stringMatching(/some cannot be reached, and the others are not what/),
    });
    expect(failed.cause).toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('hides no refusal behind another host', async () => {
    const wrong = urlOf([primary.port, standby.port], 'target_session_attrs=any').replace(
      password,
      'hunter2',
    );
    await expect(query(wrong, 'SELECT 1')).rejects.toMatchObject({ code: 'provider_rejected' });
    const untrusted = await fake({ toSslRequest: makeCertificate({ name: 'x', hosts: ['127.0.0.1'] }) });
    const { reason } = await failure([untrusted.port, primary.port], 'sslmode=verify-full');
    expect(reason).toMatch(/does not verify/);
  });

  it('leaves a server that has become a standby', async () => {
    // As after a failover: the connection is kept, and the server takes no writes any more.
    const database = new AdminDatabase(urlOf([primary.port]), { ...limits, maxConnections: 1 });
    try {
      const pid = async () =>
        (await database.run('SELECT pg_backend_pid() AS pid', deadlineIn(20_000)))[0]?.[0];
      const before = await pid();
      expect(await pid()).toEqual(before);
      await database.run('SET default_transaction_read_only = on', deadlineIn(20_000));
      await expect(database.run('CREATE ROLE nobody', deadlineIn(20_000))).rejects.toMatchObject({
        effect: 'none',
      });
      expect(await pid()).not.toEqual(before);
    } finally {
      await database.close();
    }
  });
});

describe('an admin URL that leads to a pooler', () => {
  it('is refused with a sentence that says so, as PgBouncer answers to start-up parameters', async () => {
    const pooler = await fake({
      toStartUp: (parameters) => {
        // In the order in which they come, like PgBouncer.
        const known = new Set(['user', 'database', 'application_name', 'client_encoding']);
        const other = [...parameters.keys()].find((name) => !known.has(name)) ?? '';
        return errorResponse('08P01', `unsupported startup parameter: ${other}`);
      },
    });
    const refusal = await failure([pooler.port]);
    expect(refusal).toMatchObject({
      code: 'provider_rejected',
      reason: expect.stringMatching(
        /^the admin URL leads to a connection pooler .* the database server itself$/,
      ),
    });
    expect(refusal.cause).toMatchObject({ code: '08P01' });
  });

  it('is refused too when the pooler overlooks start-up parameters', async () => {
    const pooler = await ParameterDroppingPooler.before(primary.port, '127.0.0.1');
    fakes.push(pooler);
    const { reason, code } = await failure([pooler.port]);
    expect({ reason, code }).toEqual({
      code: 'provider_rejected',
      reason: expect.stringMatching(/leads to a connection pooler/),
    });
  });
});

describe('an admin URL that leads nowhere', () => {
  it('says nothing of where it would lead, neither to the asker nor to the log', async () => {
    // What a part of a password looked like in the log.
    const url = `postgres://spec:${password}@hunter2.invalid:5432/postgres`;
    const failed: unknown = await query(url, 'SELECT 1').catch((error: unknown) => error);
    expect(failed).toMatchObject({ code: 'provider_unavailable', reason: 'the database cannot be reached' });
    expect((failed as ProviderFailure).cause).toMatchObject({ syscall: 'getaddrinfo' });
    expect(inspect(failed, { depth: 9, showHidden: true })).not.toContain('hunter2');
  });

  it('with a raw character in its password is refused before anything is connected to', async () => {
    const server = await fake({});
    for (const raw of ['p@ss', 'p/ss', 'p?ss', 'p#ss', '12/ss', '12?a=ss']) {
      const url = `postgres://127.0.0.1:${raw}@127.0.0.1:${server.port}/postgres`;
      const refusal: unknown = await query(url, 'SELECT 1').catch((error: unknown) => error);
      expect(refusal).toMatchObject({
        code: 'provider_rejected',
        reason: expect.stringMatching(
          /^the integration's admin URL is refused: .* write them as %40, %2F, %3F and %23$/,
        ),
      });
      expect(inspect(refusal, { depth: 9, showHidden: true })).not.toMatch(/ss@|12[/?]|p[@/?#]ss/);
    }
    expect(server.connections).toBe(0);
  });

  it('at a server whose certificate has expired says so', async () => {
    const authority = makeCertificate({ name: 'CA', isAuthority: true });
    const expired = makeCertificate({ name: 'db', by: authority, hosts: ['localhost'], from: -2, until: -1 });
    const server = await fake({ toSslRequest: expired });
    const url = `postgres://a@localhost:${server.port}/?sslmode=verify-full&sslrootcert=/ca`;
    const database = new AdminDatabase(url, limits, { rootCert: authority.cert });
    await expect(database.run('SELECT 1', deadlineIn(20_000))).rejects.toMatchObject({
      reason: expect.stringMatching(/does not verify: it has expired/),
    });
    await database.close();
  });

  // PostgreSQL documentation §54.7: what a server that wants Kerberos says; a message that ends before it should; no message at all.
  it.each([
    { says: [0x52, 0, 0, 0, 8, 0, 0, 0, 7], code: 'provider_rejected' },
    { says: [0x52, 0, 0, 0, 4], code: 'provider_unavailable' },
    { says: [0x01, 0, 0, 0, 4], code: 'provider_unavailable' },
  ])(
    'at a server that the driver does not understand ends nothing but the connection: $says',
    async (row) => {
      const odd = await fake({ toStartUp: () => Buffer.from(row.says) });
      const started = performance.now();
      expect(await failure([odd.port])).toMatchObject({ code: row.code });
      expect(performance.now() - started).toBeLessThan(limits.connectTimeoutMs);
    },
  );

  it('at something that is no PostgreSQL is tried without TLS where sslmode lets it, and then given up', async () => {
    const odd = await fake({ toSslRequest: 'E', toStartUp: () => errorResponse('53300', 'too many') });
    expect(await failure([odd.port], 'sslmode=require')).toMatchObject({ code: 'provider_unavailable' });
    expect(odd.connections).toBe(1);
    expect(await failure([odd.port])).toMatchObject({ reason: 'the database cannot do it at the moment' });
    expect(odd.connections).toBe(3);
  });
});
