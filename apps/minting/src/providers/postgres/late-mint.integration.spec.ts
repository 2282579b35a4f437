/** Mints that reach the server after their time, when somebody has looked for what they made and found nothing. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Secret, type PostgresCredentialSettings } from '@mayfly/domain';
import { deadlineIn, type Deadline } from '../deadline.ts';
import { ProviderUnavailable } from '../provider-error.ts';
import { AdminDatabase } from './admin-database.ts';
import { PostgresProvider } from './postgres-provider.ts';
import { loginRoleName } from './role-names.ts';
import { refuseAfter } from './server-clock.ts';
import { UnreliableNetwork } from './unreliable-network.fixture.ts';
import { deadlineMs, limits, servers, Upstream } from './upstream.fixture.ts';

const ways: readonly [string, PostgresCredentialSettings][] = [
  ['by its own statement', {}],
  [
    'by custom statements',
    {
      creation_statements: [
        'CREATE ROLE {{name}} LOGIN PASSWORD {{verifier}} VALID UNTIL {{expiration}}',
        'GRANT {{group}} TO {{name}}',
      ],
    },
  ],
];

for (const server of servers) {
  describe(`a late mint (${server.name})`, () => {
    let upstream: Upstream;
    let network: UnreliableNetwork;
    let provider: PostgresProvider;

    beforeAll(async () => {
      upstream = await Upstream.make(server.url, 'createrole');
      // Its group is there, so that a mint below is one statement.
      const leaseId = crypto.randomUUID();
      await upstream.revoke(leaseId, await upstream.mint(leaseId));
    });
    afterAll(() => upstream.close());
    beforeEach(async () => {
      network = await UnreliableNetwork.before(upstream.adminUrl);
      provider = new PostgresProvider({ ...limits, statementTimeoutMs: 300 });
    });
    afterEach(async () => {
      await network.close();
      await provider.close();
    });

    const mint = (leaseId: string, deadline: Deadline, credentialSettings: PostgresCredentialSettings = {}) =>
      provider.mint({
        ...upstream.context(leaseId),
        secrets: () => Promise.resolve(new Secret(network.url)),
        deadline,
        credentialSettings,
        agentId: 'spiffe://acme.example/agent/ci/build/1',
        bounds: upstream.bounds,
        scope: upstream.bounds,
        ttlSeconds: 120,
        grantedAt: new Date(),
      });

    it.each(ways)('I6: makes nothing %s that a network delivers after its deadline', async (_, settings) => {
      const leaseId = crypto.randomUUID();
      network.cutAt(`/* mint ${loginRoleName(leaseId)} */`);
      await expect(mint(leaseId, deadlineIn(1_500), settings)).rejects.toMatchObject({
        code: 'provider_unavailable',
        effect: 'unknown',
      });
      expect(await upstream.provider.reconcile(upstream.context(leaseId))).toEqual({ outcome: 'absent' });
      await network.heal();
      expect(await upstream.roles(`^${loginRoleName(leaseId)}$`)).toEqual([]);
    });

    it.each(ways)('still makes %s what comes in time', async (_, settings) => {
      const leaseId = crypto.randomUUID();
      const minted = await mint(leaseId, deadlineIn(deadlineMs), settings);
      expect(await upstream.roles(`^${loginRoleName(leaseId)}$`)).toEqual([loginRoleName(leaseId)]);
      expect(await upstream.revoke(leaseId, minted)).toBe('revoked');
    });

    it('reads the clock of the server again when by that a mint is late which is not', async () => {
      // The answer tells of an instant that is long past: as if the server's clock had been set forward since.
      network.slowDownAnswerTo('pg_control_system', 2_000);
      const leaseId = crypto.randomUUID();
      const minted = await mint(leaseId, deadlineIn(3_600));
      expect(await upstream.revoke(leaseId, minted)).toBe('revoked');
    });

    it('asks a connection once, and again when something has come too late by what it said', async () => {
      const database = new AdminDatabase(upstream.adminUrl, { ...limits, maxConnections: 1 });
      try {
        const ask = async (text = 'SELECT 1') =>
          (await database.runKnowing(() => text, deadlineIn(deadlineMs))).server;
        const first = await ask();
        expect(await ask()).toBe(first);
        const late = ask(`DO $$ BEGIN ${refuseAfter(first.clock.serverMs - 1)} END $$`);
        await expect(late).rejects.toThrow(ProviderUnavailable);
        await expect(late).rejects.toMatchObject({ effect: 'none' });
        const second = await ask();
        expect(second.identity).toEqual(first.identity);
        expect(second.clock.serverMs).toBeGreaterThan(first.clock.serverMs);
      } finally {
        await database.close();
      }
    });
  });
}
