/** I6: what can be named upstream is named after its lease and found again after a crash. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { waitUntil, type AgentApi, type DevelopmentStack } from '@mayfly/stack';
import { openSession, startWholeStack } from '@mayfly/testing';
import pg from 'pg';

const within = { deadlineMs: 40_000 };

describe('I6: a mint that dies between the upstream and its activation', () => {
  let stack: DevelopmentStack;
  let agent: AgentApi;
  let upstream: pg.Client;

  beforeAll(async () => {
    stack = await startWholeStack({
      env: { revocation: { MAYFLY_ORPHAN_AFTER_MS: '2000', MAYFLY_RETRY_FIRST_MS: '200' } },
    });
    agent = await openSession(stack);
    upstream = new pg.Client({ connectionString: stack.ordersAdminUrl });
    await upstream.connect();
  }, 120_000);

  afterAll(async () => {
    await upstream.end();
    await stack.stop();
  });

  const leaseRoles = async () => {
    const { rows } = await upstream.query<{ rolname: string }>(
      `SELECT rolname FROM pg_roles WHERE rolname ~ '^mayfly_[0-9a-f]{32}$'`,
    );
    return rows.map(({ rolname }) => rolname);
  };

  it('is named after its lease, found and removed, and told in the log as an orphan', async () => {
    // The register hangs, so the role is there and its activation is not; then minting dies with all it knew.
    stack.services.revocation.process().kill('SIGSTOP');
    const asked = agent.lease('orders-db/readonly').catch((error: unknown) => error);
    await waitUntil('the role to be there', async () => (await leaseRoles()).length === 1, within);
    await stack.services.minting.kill('SIGKILL');
    expect(await asked).toBeInstanceOf(Error);
    const [role = ''] = await leaseRoles();
    await stack.services.minting.restart();
    // What the dead process had sent is still on its way to the register; the grant it carries is good for a while.
    stack.services.revocation.process().kill('SIGCONT');

    await waitUntil('removing the role', async () => (await leaseRoles()).length === 0, within);
    const leaseId = role
      .replace('mayfly_', '')
      .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
    const auditor = new pg.Client({ connectionString: stack.postgres.auditorUrl });
    await auditor.connect();
    const ends = async () =>
      (
        await auditor.query<{ how_ended: string | null }>(
          'SELECT how_ended FROM audit.credential_lifecycle WHERE lease_id = $1',
          [leaseId],
        )
      ).rows;
    await waitUntil(
      'recording the end',
      async () => (await ends()).some(({ how_ended }) => how_ended !== null),
      within,
    );
    // Orphaned when the activation never arrived; revoked or failed when it did and the gateway gave the lease back.
    expect(['orphaned', 'revoked', 'failed']).toContain((await ends())[0]?.how_ended);
    await auditor.end();
  }, 120_000);
});
