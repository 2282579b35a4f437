/** The set-up against a real Postgres and a real nats-server with TLS, as a deployment runs it: every step, twice. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect, nkeyAuthenticator } from '@nats-io/transport-node';
import { natsPermissions, topologyReady, connectBus } from '@mayfly/messaging';
import {
  findNatsServer,
  freePort,
  startPostgres,
  startProcess,
  type OwnPostgres,
  type RunningProcess,
} from '@mayfly/stack';
import pg from 'pg';
import { natsAuthorityFile, prepareKeys } from './prepare-keys.ts';
import { connectionFile, connectionVariable, prepareServiceDatabase } from './prepare-service-database.ts';
import { prepareStreams } from './prepare-streams.ts';
import { DatabaseStep, KeysStep, settingsOf, StreamsStep } from './settings.ts';
import { trialIdentity } from './trial-identity.ts';

const silent = (): void => undefined;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mayfly-setup-'));
  // Postgres' user must be able to pass through.
  chmodSync(folder, 0o711);
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Every file below a folder with its mode and content. */
function filesOf(path: string): Record<string, string> {
  const entries = readdirSync(path, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  return Object.fromEntries(
    entries.map((entry) => {
      const file = join(entry.parentPath, entry.name);
      return [file, `${(statSync(file).mode & 0o777).toString(8)} ${readFileSync(file, 'utf8')}`];
    }),
  );
}

describe('keys and streams', () => {
  let keysStep: KeysStep;
  let streamsStep: StreamsStep;
  let nats: RunningProcess | undefined;

  beforeAll(async () => {
    const [port, monitorPort] = [await freePort(), await freePort()];
    keysStep = settingsOf(KeysStep, {
      MAYFLY_KEYS: join(folder, 'keys'),
      MAYFLY_NATS_FOLDER: join(folder, 'nats'),
      MAYFLY_NATS_STORE: join(folder, 'jetstream'),
      MAYFLY_NATS_NAMES: 'nats,localhost',
      MAYFLY_NATS_PORT: String(port),
      MAYFLY_NATS_MONITOR_PORT: String(monitorPort),
    });
    streamsStep = {
      MAYFLY_NATS_URL: `tls://localhost:${port}`,
      MAYFLY_NATS_CA: join(folder, 'keys', natsAuthorityFile),
      MAYFLY_KEYS: join(folder, 'keys'),
    };
    await prepareKeys(keysStep, silent);
    nats = await startProcess({
      name: 'nats-server',
      command: findNatsServer(),
      args: ['--config', join(folder, 'nats', 'nats-server.conf')],
      env: {},
      cwd: '/',
      logFile: join(folder, 'nats-server.log'),
      // What the compose file's health check asks.
      ready: async () => (await fetch(`http://127.0.0.1:${monitorPort}/healthz?js-enabled-only=true`)).ok,
    });
  });
  afterAll(() => nats?.stop());

  it('run again, the keys step changes nothing', async () => {
    const before = filesOf(folder);
    await prepareKeys(keysStep, silent);
    expect(filesOf(join(folder, 'keys'))).toEqual(
      Object.fromEntries(Object.entries(before).filter(([file]) => file.startsWith(join(folder, 'keys')))),
    );
  });

  it('everything secret is for its owner alone', () => {
    const open = Object.entries(filesOf(join(folder, 'keys')))
      .filter(([, content]) => !content.startsWith('600 '))
      .map(([file]) => file);
    expect(open.filter((file) => !file.startsWith(join(folder, 'keys', 'public')))).toEqual([]);
    expect(statSync(join(folder, 'nats', 'nats-server.conf')).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, 'nats', 'tls', 'server.key')).mode & 0o777).toBe(0o600);
  });

  it('the bus has a user for everybody who has permissions, and the streams step makes it ready for each service', async () => {
    await prepareStreams(streamsStep, silent);
    await prepareStreams(streamsStep, silent);
    for (const user of Object.keys(natsPermissions()) as (keyof ReturnType<typeof natsPermissions>)[]) {
      if (user === 'setup') continue;
      const connection = await connectBus({
        servers: streamsStep.MAYFLY_NATS_URL,
        service: user,
        seedFile: join(folder, 'keys', user, 'nats.nk'),
        caFile: join(folder, 'keys', natsAuthorityFile),
      });
      expect([user, await topologyReady(connection, user)]).toEqual([user, true]);
      await connection.close();
    }
  });

  it('the bus refuses who has no key, who has no TLS, and a service that would delete a stream', async () => {
    const { MAYFLY_NATS_URL: servers, MAYFLY_NATS_CA: caFile = '' } = streamsStep;
    const once = { servers, reconnect: false, timeout: 5_000 };
    await expect(connect({ ...once, tls: { caFile } })).rejects.toThrow(/Authorization/);
    await expect(connect(once)).rejects.toThrow(/certificate/);
    const seed = readFileSync(join(folder, 'keys', 'policy', 'nats.nk'), 'utf8').trim();
    const policy = await connect({
      ...once,
      tls: { caFile },
      inboxPrefix: '_INBOX_policy',
      authenticator: nkeyAuthenticator(new TextEncoder().encode(seed)),
    });
    const manager = await jetstreamManager(policy, { checkAPI: false, timeout: 2_000 });
    await expect(manager.streams.delete('MAYFLY_EVENTS')).rejects.toThrow(/permission|timeout/i);
    await policy.close();
  });
});

describe('the database', () => {
  let postgres: OwnPostgres;
  // A server of its own: roles and their passwords are the server's, not the database's.
  beforeAll(async () => {
    postgres = await startPostgres({ dataDirectory: join(folder, 'postgres'), settings: { fsync: 'off' } });
  });
  afterAll(() => postgres.stop());

  function step(): DatabaseStep {
    const url = new URL(postgres.adminUrl);
    writeFileSync(join(folder, 'admin-password'), `${decodeURIComponent(url.password)}\n`);
    url.password = '';
    return settingsOf(DatabaseStep, {
      MAYFLY_ADMIN_POSTGRES_URL: url.href,
      MAYFLY_ADMIN_PASSWORD_FILE: join(folder, 'admin-password'),
      MAYFLY_DATABASE_FOLDER: join(folder, 'database'),
    });
  }

  const connectionOf = (service: 'policy' | 'revocation' | 'audit'): string => {
    const text = readFileSync(join(folder, 'database', connectionFile(service)), 'utf8');
    return text.trim().slice(`${connectionVariable}=`.length);
  };

  it('each service gets a connection as its own role, the same at every run', async () => {
    await prepareServiceDatabase(step(), silent);
    const first = filesOf(join(folder, 'database'));
    await prepareServiceDatabase(step(), silent);
    expect(filesOf(join(folder, 'database'))).toEqual(first);
    expect(Object.values(first).every((content) => content.startsWith('600 '))).toBe(true);
    for (const service of ['policy', 'revocation', 'audit'] as const) {
      const client = new pg.Client({ connectionString: connectionOf(service) });
      await client.connect();
      const { rows } = await client.query('select current_user as role, current_database() as database');
      await client.end();
      expect(rows).toEqual([{ role: `mayfly_${service}`, database: 'mayfly' }]);
    }
  });

  it('a run that fails leaves the services the connections that work', async () => {
    const before = filesOf(join(folder, 'database'));
    const wrong = { ...step(), MAYFLY_ADMIN_POSTGRES_URL: 'postgres://postgres@127.0.0.1:1/postgres' };
    await expect(prepareServiceDatabase(wrong, silent)).rejects.toThrow();
    expect(filesOf(join(folder, 'database'))).toEqual(before);
  });
});

it('the trial issuer signs for the names it knows and publishes no private key', async () => {
  const issuer = join(folder, 'issuer');
  expect((await trialIdentity(issuer, 'agent')).split('.')).toHaveLength(3);
  await expect(trialIdentity(issuer, 'root')).rejects.toThrow('name one of agent, administrator, auditor.');
  expect(readFileSync(join(issuer, 'issuer.jwks.json'), 'utf8')).not.toContain('"d"');
});
