import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { startPostgres, type OwnPostgres } from './start-postgres.ts';

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

describe('startPostgres', () => {
  let dataDirectory: string;
  beforeAll(() => {
    dataDirectory = mkdtempSync(join(tmpdir(), 'mayfly-postgres-spec-'));
    chmodSync(dataDirectory, 0o711);
  });
  afterAll(() => {
    rmSync(dataDirectory, { recursive: true, force: true });
  });

  async function withPostgres<T>(
    use: (postgres: OwnPostgres) => Promise<T>,
    log: (line: string) => void = () => undefined,
  ): Promise<T> {
    const postgres = await startPostgres({ dataDirectory, log });
    try {
      return await use(postgres);
    } finally {
      await postgres.stop();
    }
  }

  it('makes a cluster that listens on the loopback only and asks for a password', async () => {
    await withPostgres(async ({ adminUrl }) => {
      const [row] = await query(
        adminUrl,
        `select current_setting('listen_addresses') as addresses, current_setting('unix_socket_directories') as sockets,
                (select rolpassword from pg_authid where rolname = 'postgres') as verifier`,
      );
      expect(row).toMatchObject({ addresses: '127.0.0.1', sockets: '' });
      expect(row?.['verifier']).toMatch(/^SCRAM-SHA-256\$/u);
      const wrong = new URL(adminUrl);
      wrong.password = 'wrong';
      await expect(query(wrong.href, 'select 1')).rejects.toThrow(/password authentication failed/u);
      expect(statSync(join(dataDirectory, 'superuser.password')).mode & 0o777).toBe(0o600);
    });
  });

  it('uses an existing cluster again', async () => {
    await withPostgres(({ adminUrl }) => query(adminUrl, 'create table kept as select 42 as answer'));
    await withPostgres(async ({ adminUrl }) => {
      expect(await query(adminUrl, 'select answer from kept')).toEqual([{ answer: 42 }]);
    });
  });

  it('comes back after the server was killed, on the same port and with its data', async () => {
    await withPostgres(async (postgres) => {
      await query(postgres.adminUrl, 'create table survives as select 1 as one');
      postgres.kill('SIGKILL');
      await postgres.process().exited;
      await postgres.restart();
      expect(await query(postgres.adminUrl, 'select one from survives')).toEqual([{ one: 1 }]);
    });
  });

  it('starts over a pid file whose number now belongs to another process', async () => {
    let clusterFolder = '';
    await withPostgres((postgres) => {
      ({ clusterFolder } = postgres);
      return Promise.resolve();
    });
    writeFileSync(join(clusterFolder, 'postmaster.pid'), `${String(process.pid)}\n${clusterFolder}\n`);
    await withPostgres(async ({ adminUrl }) => {
      expect(await query(adminUrl, 'select 1 as one')).toEqual([{ one: 1 }]);
    });
  });

  it('ends a server that a killed run left behind', async () => {
    const leftover = await startPostgres({ dataDirectory });
    await withPostgres(async ({ adminUrl }) => {
      expect(await query(adminUrl, 'select 1 as one')).toEqual([{ one: 1 }]);
    });
    await leftover.process().exited;
    expect(leftover.process().isRunning()).toBe(false);
    await leftover.stop();
  });

  it('removes what a killed initdb left and puts a broken cluster aside', async () => {
    const base = join(dataDirectory, 'half-made');
    const lines: string[] = [];
    mkdirSync(join(base, '.making-abc', 'cluster'), { recursive: true });
    mkdirSync(join(base, 'cluster', 'base'), { recursive: true });
    const postgres = await startPostgres({
      dataDirectory: base,
      removeOnStop: true,
      log: (line) => lines.push(line),
    });
    try {
      expect(await query(postgres.adminUrl, 'select 1 as one')).toEqual([{ one: 1 }]);
      expect(lines).toEqual([expect.stringContaining('was not a whole Postgres cluster: put aside as')]);
      expect(readdirSync(base).filter((name) => name.startsWith('.making-'))).toEqual([]);
    } finally {
      await postgres.stop();
    }
    expect(existsSync(base)).toBe(false);
  });

  it('says what to do when the password is missing', async () => {
    const passwordFile = join(dataDirectory, 'superuser.password');
    const password = readFileSync(passwordFile, 'utf8');
    rmSync(passwordFile);
    try {
      await expect(startPostgres({ dataDirectory })).rejects.toThrow(
        /superuser\.password is missing: put it back/u,
      );
    } finally {
      writeFileSync(passwordFile, password, { mode: 0o600 });
    }
  });

  const asRoot = process.getuid?.() === 0 ? it : it.skip;
  asRoot('puts the cluster where its user can reach it when our folder is closed', async () => {
    const closed = mkdtempSync(join(tmpdir(), 'mayfly-postgres-closed-'));
    const lines: string[] = [];
    const postgres = await startPostgres({
      dataDirectory: join(closed, 'data'),
      removeOnStop: true,
      log: (line) => lines.push(line),
    });
    try {
      expect(postgres.clusterFolder).toMatch(/^\/var\/tmp\/mayfly-[0-9a-f]{16}\/cluster$/u);
      expect(lines).toEqual([expect.stringContaining("Postgres' user can't reach")]);
      expect(await query(postgres.adminUrl, 'select 1 as one')).toEqual([{ one: 1 }]);
    } finally {
      await postgres.stop();
      rmSync(closed, { recursive: true, force: true });
    }
    expect(existsSync(postgres.clusterFolder)).toBe(false);
  });
});
