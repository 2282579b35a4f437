/** What `sslmode` and its companions mean, against a real server with TLS; each row says what libpq does. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { Secret } from '@mayfly/domain';
import { startPostgres, type OwnPostgres } from '@mayfly/stack/postgres';
import pg from 'pg';
import { deadlineIn } from '../../deadline.ts';
import { ProviderRejected } from '../../provider-error.ts';
import { AdminDatabase } from '../admin-database.ts';
import { adminConnection } from './admin-url.ts';
import { makeCertificate } from './certificates.fixture.ts';
import { readTlsFiles } from './tls-files.ts';

const limits = { maxConnections: 2, statementTimeoutMs: 2_000, connectTimeoutMs: 4_000 };

const authority = makeCertificate({ name: 'the CA', isAuthority: true });
const stranger = makeCertificate({ name: 'another CA', isAuthority: true });
const server = makeCertificate({ name: 'db', by: authority, hosts: ['localhost'] });
const admin = makeCertificate({ name: 'by_certificate', by: authority });

/** Which of these databases lets whom in is what pg_hba.conf says about it. */
const hba = `
hostssl   tls_only   all            127.0.0.1/32 scram-sha-256
hostnossl tls_only   all            127.0.0.1/32 reject
hostnossl plain_only all            127.0.0.1/32 scram-sha-256
hostssl   plain_only all            127.0.0.1/32 reject
hostssl   all        by_certificate 127.0.0.1/32 cert
host      no_password all           127.0.0.1/32 trust
host      all        all            127.0.0.1/32 scram-sha-256
local     all        all                         scram-sha-256
`;

let folder: string;
let postgres: OwnPostgres;
let password: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mayfly-tls-'));
  chmodSync(folder, 0o711);
  mkdirSync(join(folder, 'sockets'));
  chmodSync(join(folder, 'sockets'), 0o777);
  for (const [name, content] of Object.entries({
    'ca.pem': authority.cert,
    'both.pem': `${stranger.cert}\n${authority.cert}`,
    'stranger.pem': stranger.cert,
    'admin.pem': admin.cert,
    'admin.key': admin.key,
    'nonsense.pem': '-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n',
  }))
    writeFileSync(join(folder, name), content);
  postgres = await startPostgres({
    dataDirectory: join(folder, 'data'),
    removeOnStop: true,
    settings: { fsync: 'off', unix_socket_directories: join(folder, 'sockets') },
  });
  password = new URL(postgres.adminUrl).password;
  const cluster = postgres.clusterFolder;
  const { uid, gid } = statSync(cluster);
  for (const [name, content] of Object.entries({
    'server.crt': server.cert,
    'server.key': server.key,
    'root.crt': authority.cert,
    'pg_hba.conf': hba,
  })) {
    writeFileSync(join(cluster, name), content, { mode: 0o600 });
    chownSync(join(cluster, name), uid, gid);
  }
  await asSuperuser(`CREATE ROLE by_certificate SUPERUSER LOGIN`);
  for (const name of ['tls_only', 'plain_only', 'no_password', '"with / and ?"'])
    await asSuperuser(`CREATE DATABASE ${name}`);
  await setTls(true);
});
afterAll(async () => {
  await postgres.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function asSuperuser(text: string): Promise<void> {
  const client = new pg.Client({ connectionString: postgres.adminUrl });
  await client.connect();
  await client.query(text);
  await client.end();
}

/** Until the server does as it is told: it reads its settings again some time after it was asked to. */
async function setTls(on: boolean): Promise<void> {
  await asSuperuser(`ALTER SYSTEM SET ssl = ${on ? 'on' : 'off'}`);
  await asSuperuser(`ALTER SYSTEM SET ssl_ca_file = 'root.crt'`);
  for (;;) {
    await asSuperuser('SELECT pg_reload_conf()');
    const client = new pg.Client({
      connectionString: postgres.adminUrl,
      ssl: on && { rejectUnauthorized: false },
    });
    const isThere = await client.connect().then(
      async () => {
        const { rows } = await client.query<{ ssl: string }>(`SELECT current_setting('ssl') AS ssl`);
        return rows[0]?.ssl === (on ? 'on' : 'off');
      },
      () => false,
    );
    await client.end();
    if (isThere) return;
  }
}

interface Place {
  readonly host?: string;
  readonly database?: string;
  readonly user?: string;
  readonly parameters?: string;
  /** `none` and `wrong` are just that. */
  readonly password?: 'none' | 'wrong';
}

const urlOf = ({
  host = 'localhost',
  database = 'postgres',
  user = 'postgres',
  parameters = '',
  ...place
}: Place) => {
  const secret =
    place.password === 'none'
      ? ''
      : `:${place.password === 'wrong' ? 'hunter2' : encodeURIComponent(password)}`;
  return `postgres://${user}${secret}@${host}:${postgres.port}/${database}?${parameters.replaceAll('DIR', folder)}`;
};

/** Whether the connection that an admin URL gives is encrypted. */
async function encryption(place: Place): Promise<'tls' | 'plain'> {
  const url = urlOf(place);
  const files = await readTlsFiles(adminConnection(url), async (reference) => {
    const { readFile } = await import('node:fs/promises');
    return new Secret(await readFile(reference.replace('file:', ''), 'utf8'));
  });
  const database = new AdminDatabase(url, limits, files);
  try {
    const [rows] = await database.run(
      'SELECT coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS tls',
      deadlineIn(20_000),
    );
    return rows?.[0]?.['tls'] === true ? 'tls' : 'plain';
  } finally {
    await database.close();
  }
}

/** With a name for each, from what is said of it. */
function named<Row extends Place>(rows: readonly Row[]): (Row & { name: string })[] {
  return rows.map((row) => ({
    ...row,
    name: ['parameters', 'host', 'database', 'user', 'password']
      .flatMap((key) => {
        const value = row[key as keyof Place];
        return value === undefined || value === '' ? [] : [key === 'parameters' ? value : `${key} ${value}`];
      })
      .join(', '),
  }));
}

async function refusalOf(place: Place): Promise<ProviderRejected> {
  const refusal = await encryption(place).then(
    (tls) => new Error(`it was let in: ${tls}`),
    (error: unknown) => error,
  );
  expect(refusal).toBeInstanceOf(ProviderRejected);
  // Neither the sentence nor anything that a log may print of its causes.
  const printed = inspect(refusal, { depth: 9, showHidden: true });
  for (const part of ['localhost', '127.0.0.1', String(postgres.port), password, 'hunter2', 'tls_only'])
    expect(printed).not.toContain(part);
  return refusal as ProviderRejected;
}

/** One sentence, so that nobody can find out by it which files there are. */
const uselessRootCert =
  /^the file that sslrootcert of the admin URL names can't be read .*, or does not hold certificates in PEM$/;

describe('an admin URL, at a server with TLS', () => {
  it.each(
    named<Place & { gives: 'tls' | 'plain' }>([
      { parameters: '', gives: 'tls' },
      { parameters: 'sslmode=disable', gives: 'plain' },
      { parameters: 'sslmode=allow', gives: 'plain' },
      { parameters: 'sslmode=allow', database: 'tls_only', gives: 'tls' },
      { parameters: 'sslmode=prefer', gives: 'tls' },
      { parameters: 'sslmode=prefer', database: 'plain_only', gives: 'plain' },
      { parameters: 'sslmode=require', gives: 'tls' },
      { parameters: 'sslmode=require', host: '127.0.0.1', gives: 'tls' },
      { parameters: 'ssl=true', gives: 'tls' },
      // With a root CA, require is verify-ca.
      { parameters: 'sslmode=require&sslrootcert=DIR/ca.pem', host: '127.0.0.1', gives: 'tls' },
      { parameters: 'sslmode=verify-ca&sslrootcert=DIR/ca.pem', host: '127.0.0.1', gives: 'tls' },
      { parameters: 'sslmode=verify-full&sslrootcert=DIR/ca.pem', gives: 'tls' },
      { parameters: 'sslmode=verify-full&sslrootcert=DIR/both.pem', gives: 'tls' },
      { parameters: 'sslmode=require&ssl_min_protocol_version=TLSv1.3', gives: 'tls' },
      { parameters: 'sslmode=require&channel_binding=require', gives: 'tls' },
      {
        parameters: 'sslmode=require&sslcert=DIR/admin.pem&sslkey=DIR/admin.key',
        user: 'by_certificate',
        password: 'none',
        gives: 'tls',
      },
      { parameters: '', database: 'with%20%2F%20and%20%3F', gives: 'tls' },
      // TLS is never used on a socket.
      { parameters: 'host=DIR/sockets', host: '', gives: 'plain' },
      { parameters: 'host=DIR/sockets&sslmode=verify-full', host: '', gives: 'plain' },
    ]),
  )('gives $gives with: $name', async ({ gives, ...place }) => {
    expect(await encryption(place)).toBe(gives);
  });

  it.each(
    named<Place & { because: RegExp }>([
      { parameters: 'sslmode=disable', database: 'tls_only', because: /pg_hba\.conf has no entry/ },
      { parameters: 'sslmode=require', database: 'plain_only', because: /pg_hba\.conf has no entry/ },
      { parameters: 'sslmode=require&sslrootcert=DIR/stranger.pem', because: /does not verify: no CA/ },
      { parameters: 'sslmode=verify-ca&sslrootcert=DIR/stranger.pem', because: /does not verify: no CA/ },
      { parameters: 'sslmode=prefer&sslrootcert=DIR/stranger.pem', because: /does not verify: no CA/ },
      { parameters: 'sslmode=verify-full', because: /does not verify: no CA that is trusted/ },
      { parameters: 'sslrootcert=system', because: /does not verify: no CA that is trusted/ },
      {
        parameters: 'sslmode=verify-full&sslrootcert=DIR/ca.pem',
        host: '127.0.0.1',
        because: /does not verify: it is for another host/,
      },
      {
        parameters: 'sslrootcert=DIR/missing.pem',
        because: uselessRootCert,
      },
      { parameters: 'sslrootcert=/proc/self/environ', because: uselessRootCert },
      { parameters: 'sslrootcert=DIR', because: uselessRootCert },
      { parameters: 'sslrootcert=DIR/admin.key', because: uselessRootCert },
      { parameters: 'sslrootcert=DIR/nonsense.pem', because: uselessRootCert },
      {
        parameters: 'sslcert=DIR/admin.pem&sslkey=DIR/ca.pem',
        because: /sslcert and sslkey .* belong together/,
      },
      { parameters: 'sslcert=DIR/missing&sslkey=DIR/admin.key', because: /sslcert .* can't be read/ },
      { parameters: 'channel_binding=require', database: 'no_password', because: /channel_binding=require/ },
      { parameters: 'sslmode=allow&channel_binding=require', because: /channel_binding=require/ },
      {
        parameters: '',
        password: 'wrong',
        because: /does not accept the integration's privileged credential$/,
      },
      { parameters: '', password: 'none', because: /asks for a password, and the admin URL holds none/ },
      { parameters: '', database: 'no_such', because: /database of the integration does not exist/ },
    ]),
  )('is refused with a sentence that says why: $name', async ({ because, ...place }) => {
    const refusal = await refusalOf(place);
    expect(refusal.reason).toMatch(because);
    expect(refusal.reason).not.toMatch(/again/);
  });

  it("takes no password from minting's own environment", async () => {
    const before = process.env['PGPASSWORD'];
    process.env['PGPASSWORD'] = password;
    try {
      expect((await refusalOf({ password: 'none' })).reason).toMatch(/holds none/);
    } finally {
      if (before === undefined) delete process.env['PGPASSWORD'];
      else process.env['PGPASSWORD'] = before;
    }
  });

  it('has its key read as any other secret of the organization', async () => {
    const asked: string[] = [];
    const reading = readTlsFiles(
      adminConnection('postgres://h?sslcert=/run/secrets/acme/c&sslkey=/run/secrets/globex/k'),
      (reference) => {
        asked.push(reference);
        if (reference.startsWith('file:/run/secrets/acme/')) return Promise.resolve(new Secret('x'));
        return Promise.reject(new ProviderRejected('outside'));
      },
    );
    await expect(reading).rejects.toThrow(/sslkey .* within secret_references of the organization/);
    expect(asked.sort()).toEqual(['file:/run/secrets/acme/c', 'file:/run/secrets/globex/k']);
  });
});

describe('an admin URL, at a server without TLS', () => {
  beforeAll(() => setTls(false));

  it.each(['', 'sslmode=disable', 'sslmode=allow', 'sslmode=prefer'])(
    'gives plain with %s',
    async (parameters) => {
      expect(await encryption({ parameters })).toBe('plain');
    },
  );

  it.each(['require', 'verify-full'])(
    'is refused with a sentence that says why: sslmode=%s',
    async (mode) => {
      const { reason } = await refusalOf({ parameters: `sslmode=${mode}` });
      expect(reason).toMatch(/^the database server has no TLS/);
    },
  );
});
