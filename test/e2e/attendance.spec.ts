/** A minting that was killed has no memory of where leases live. The register has, and sees to it that a connection for their ends is there. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { waitUntil } from '@mayfly/stack';
import { openSession, startWholeStack, type TestStack } from '@mayfly/testing';

describe('a minting that was killed and knows nothing of the leases that live', () => {
  let stack: TestStack;
  beforeAll(async () => {
    stack = await startWholeStack({ env: { revocation: { MAYFLY_ATTENDANCE_MS: '500' } } });
    await (await openSession(stack)).postgresLease('orders-db/readonly', { ttl_seconds: 300 });
  }, 120_000);
  afterAll(() => stack?.stop());

  it('soon holds a connection for their ends again, where they live and nowhere else, and tells what they may take', async () => {
    await stack.services.minting.kill('SIGKILL');
    await stack.services.minting.restart();
    const told = async () =>
      (await (await fetch(`${stack.services.minting.url}/metrics`)).text())
        .split('\n')
        .filter((line) => /^mayfly_postgres_(kept|lease|available)_connections/.test(line))
        .map((line) => line.replace(/,service="[^"]*"/, ''));
    const kept = 'mayfly_postgres_kept_connections{organization="acme",integration="orders-db"} 1';
    await waitUntil('the connection', async () => (await told()).includes(kept), { deadlineMs: 20_000 });
    await waitUntil('the figures', async () => (await told()).length === 3, { deadlineMs: 20_000 });
    expect(await told()).toEqual(
      expect.arrayContaining([
        'mayfly_postgres_lease_connections{organization="acme",integration="orders-db"} 5',
        expect.stringMatching(
          /^mayfly_postgres_available_connections\{organization="acme",integration="orders-db"\} \d+$/,
        ),
        kept,
      ]),
    );
  }, 60_000);
});
