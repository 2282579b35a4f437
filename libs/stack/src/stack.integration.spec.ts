import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { natsPermissions } from '@mayfly/messaging';
import pg from 'pg';
import { NATS_USER_NAMES, generateKeys } from './keys/generate-keys.ts';
import { openBus, prepareBus } from './services/prepare-bus.ts';
import { prepareDatabase } from './services/prepare-database.ts';
import { startStack } from './stack.ts';

const adminUrl = process.env['MAYFLY_TEST_POSTGRES_URL'] ?? '';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mayfly-stack-spec-'));
  chmodSync(folder, 0o711);
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

describe('the parts of a stack', () => {
  it('gives each service a role of its own, with the same password at every start', async () => {
    const database = 'mayfly_stack_spec';
    try {
      const urls = await prepareDatabase(adminUrl, database, folder);
      expect(await prepareDatabase(adminUrl, database, folder)).toEqual(urls);
      const who = 'select current_user as role, current_database() as database';
      expect(await query(urls.services.policy, who)).toEqual([{ role: 'mayfly_policy', database }]);
      expect(await query(urls.auditor, who)).toEqual([{ role: 'mayfly_auditor', database }]);
    } finally {
      await query(adminUrl, `drop database if exists ${database} with (force)`);
    }
  });

  it('starts a bus that knows every user, and declares streams and consumers again and again', async () => {
    expect(Object.keys(natsPermissions()).sort()).toEqual([...NATS_USER_NAMES].sort());
    const keys = await generateKeys(join(folder, 'keys'));
    const nats = await openBus({ dataDirectory: join(folder, 'nats') }, keys);
    try {
      await prepareBus(nats.url, undefined, keys);
      await prepareBus(nats.url, undefined, keys);
    } finally {
      await nats.stop();
    }
  });

  it('says which NATS could not be used', async () => {
    const keys = await generateKeys(join(folder, 'keys'));
    await expect(prepareBus('nats://127.0.0.1:1', undefined, keys)).rejects.toThrow(
      /^The NATS server at nats:\/\/127\.0\.0\.1:1 could not be used: /u,
    );
  });
});

describe('startStack', () => {
  it('ends everything that it had started when a service cannot start, and says which and why', async () => {
    const env = { policy: { MAYFLY_OPERATIONS_PORT: 'not a port' } };
    const failing = startStack({ dataDirectory: folder, env, log: () => undefined });
    await expect(failing).rejects.toThrow(/ ended before it was ready \(exit status/u);
    expect(existsSync(join(folder, 'stack.lock'))).toBe(false);
    expect(existsSync(join(folder, 'postgres', 'cluster', 'postmaster.pid'))).toBe(false);
    expect(readFileSync(join(folder, 'nats', 'nats-server.log'), 'utf8')).toMatch(/Server Exiting/u);
  });
});
