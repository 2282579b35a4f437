/** A session that is to be heard of: what it holds ends when its holder has died, and lives while it is heard. */
import { describe, expect, it } from '@jest/globals';
import { waitUntil } from '@mayfly/stack';
import { agentClaims, openSession, wholeStack } from '@mayfly/testing';
import pg from 'pg';

const stack = wholeStack();

/** Whether the upstream lets it in; anything but its own refusal is an error. */
async function works(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return true;
  } catch (error) {
    const { code } = error as { code?: string };
    if (code !== '28P01' && code !== '28000') throw error;
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

const lifecycle = async (leaseId: string) => {
  const client = new pg.Client({ connectionString: stack.auditorUrl });
  await client.connect();
  const { rows } = await client.query<Record<string, unknown>>(
    'SELECT how_ended, ended_at, expires_at, end_reason FROM audit.credential_lifecycle WHERE lease_id = $1',
    [leaseId],
  );
  await client.end();
  return rows[0];
};

describe('a session that asked for a heartbeat', () => {
  const heartbeatSeconds = 10;
  const ask = { ttl_seconds: 600 };

  it('loses its leases upstream, long before their time, when it goes unheard; one that is heard keeps them', async () => {
    const [dead, alive] = await Promise.all(
      [0, 1].map(() => openSession(stack, agentClaims(), { heartbeatSeconds })),
    );
    if (dead === undefined || alive === undefined) throw new Error('unreachable');
    const [lost, kept] = await Promise.all(
      [dead, alive].map((agent) => agent.postgresLease('orders-db/readonly', ask)),
    );
    if (lost === undefined || kept === undefined) throw new Error('unreachable');
    const lastHeard = Date.now();
    expect(await works(lost.secret.url)).toBe(true);

    await waitUntil(
      'the upstream to refuse what was lost',
      async () => {
        await alive.call('POST', '/v1/sessions/heartbeat');
        return !(await works(lost.secret.url));
      },
      { deadlineMs: 30_000 },
    );
    expect(Date.now() - lastHeard).toBeGreaterThan(heartbeatSeconds * 1_000 - 1_000);
    expect(await works(kept.secret.url)).toBe(true);
    expect((await alive.leases()).map(({ lease_id }) => lease_id)).toEqual([kept.lease_id]);
    await expect(dead.leases()).rejects.toMatchObject({ problem: { code: 'unauthenticated' } });

    await waitUntil(
      'the audit log to tell',
      async () => (await lifecycle(lost.lease_id))?.['ended_at'] !== null,
      {
        deadlineMs: 10_000,
      },
    );
    const told = await lifecycle(lost.lease_id);
    expect(told).toMatchObject({ how_ended: 'revoked', end_reason: 'session_ended' });
    const early = (told?.['expires_at'] as Date).getTime() - (told?.['ended_at'] as Date).getTime();
    expect(early).toBeGreaterThan(500_000);
    await alive.giveBack(kept.lease_id);
  }, 60_000);
});
