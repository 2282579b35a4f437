/** What `mayfly-policy recover --end-leases` itself writes is carried out: both programs, each on its own tables, with no bus between. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import type { MayflyEvent } from '@mayfly/contracts';
import { migrate } from '@mayfly/postgres';
import { openWorld, until, type World } from '../register-fixtures.ts';

const inPolicy = (path: string) => fileURLToPath(new URL(`../../../policy/${path}`, import.meta.url));

let world: World;
let folder: string;
beforeEach(async () => {
  world = await openWorld();
  folder = await mkdtemp(join(tmpdir(), 'mayfly-recovery-'));
});
afterEach(async () => {
  await world.close();
  await rm(folder, { recursive: true });
});

const document = (credential: string) => `
organizations:
  - { name: acme, trust_domain: acme.example, secret_references: ['env:ACME_'] }
trust:
  - name: people
    organization: acme
    issuer: https://issuer.example
    audience: mayfly
    jwks: file:/nowhere.json
    require: { kind: person }
    as: person
    user: { claim: email }
    person_roles: { claim: groups, values: { platform: platform_administrator } }
integrations:
  - { name: orders-db, organization: acme, provider: postgres, admin: env:ACME_ORDERS }
credentials:
  - { name: ${credential}, organization: acme, roles: [analyst], scope: { privileges: [SELECT], schemas: [public] } }
`;

async function recover(credential: string, ...options: string[]): Promise<void> {
  const file = join(folder, 'mayfly.yaml');
  await writeFile(file, document(credential));
  const args = [inPolicy('bin/mayfly-policy.js'), 'recover', '--config', file, ...options];
  await promisify(execFile)(process.execPath, args, { env: { MAYFLY_POSTGRES_URL: world.database.url } });
}

it('a recovery ends the leases of what it removes, and is told as who asked', async () => {
  const connectionString = world.database.url;
  await migrate({ connectionString, schema: 'policy', directory: inPolicy('migrations') });
  await recover('orders-db/readonly');
  await recover('orders-db/other', '--end-leases');
  const { rows } = await world.database.pool.query<{ event: string }>('SELECT event FROM policy.outbox');
  const orders = rows
    .map(({ event }) => JSON.parse(event) as MayflyEvent)
    .filter(({ type }) => type === 'dev.mayfly.config.removed.v1');
  expect(orders).toHaveLength(1);

  const register = world.replica();
  register.start();
  const lives = await world.issue(register);
  const rejected: string[] = [];
  await register.orders.carryOut(
    orders.map((event) => ({ event, reject: (reason) => rejected.push(reason) })),
  );
  expect(rejected).toEqual([]);
  await until(async () => (await world.row(lives))?.['state'] === 'revoked');
  const assertion = await world.assert({ action: 'list_revocations' }, { administrator: true });
  expect(await register.revocations.list({ assertion, limit: 20 })).toMatchObject({
    revocations: [{ subject: { kind: 'credential', id: 'orders-db/readonly' }, asked_by: 'recovery' }],
  });
});
