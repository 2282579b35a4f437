/**
 * Revoking and blocking with the real parts: leases that are login roles of a real Postgres, and the command that an
 * administrator types.
 */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { blockedReason, bus } from '@mayfly/contracts';
import { PostgresSecret } from '@mayfly/domain';
import { BusClient, connectBus } from '@mayfly/messaging';
import { Refused, repositoryRoot, waitUntil, type AgentApi, type OpenedLease } from '@mayfly/stack';
import {
  agentClaims,
  identityToken,
  openSession,
  personClaims,
  startWholeStack,
  wholeStack,
  type TestStack,
} from '@mayfly/testing';
import { keyFiles, loadSealingPublicKey, sealTo } from '@mayfly/tokens';
import pg from 'pg';

const within = { deadlineMs: 30_000 };

async function mayfly(
  stack: { gatewayUrl: string; dataDirectory: string },
  groups: string[],
  ...args: string[]
): Promise<{ status: number; stdout: string; stderr: string }> {
  const program = join(repositoryRoot(), 'apps', 'cli', 'bin', 'mayfly.js');
  const env = {
    PATH: process.env['PATH'],
    MAYFLY_URL: stack.gatewayUrl,
    MAYFLY_IDENTITY_TOKEN: await identityToken(stack, personClaims(groups)),
  };
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...args], { env }, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

async function works({ secret }: OpenedLease<PostgresSecret>): Promise<boolean> {
  const client = new pg.Client({ connectionString: secret.url, connectionTimeoutMillis: 10_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('SELECT count(*) FROM orders');
    return true;
  } catch (error) {
    const { code } = error as { code?: string };
    // Refused by Postgres; anything else would prove nothing.
    if (code !== '28P01' && code !== '28000' && code !== '57P01') throw error;
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

const worksAny = async (leases: readonly OpenedLease<PostgresSecret>[]) =>
  (await Promise.all(leases.map(works))).filter((alive) => alive).length;

async function codeOf(ask: Promise<unknown>): Promise<string> {
  try {
    await ask;
    return 'ok';
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return error.problem.code;
  }
}

const linesOf = (stdout: string) =>
  stdout
    .trimEnd()
    .split('\n')
    .map((text) => JSON.parse(text) as { type: string; [field: string]: unknown });

describe('an administrator who revokes by user', () => {
  const stack = wholeStack();
  const user = `ada-${randomUUID()}@example.com`;
  let hers: OpenedLease<PostgresSecret>[];
  let bystander: OpenedLease<PostgresSecret>;
  let agents: AgentApi[];

  beforeAll(async () => {
    agents = await Promise.all(
      Array.from({ length: 4 }, () => openSession(stack, agentClaims({ on_behalf_of: user }))),
    );
    hers = await Promise.all(
      agents.flatMap((agent) => [
        agent.postgresLease('orders-db/readonly'),
        agent.postgresLease('orders-db/readonly'),
      ]),
    );
    bystander = await (await openSession(stack)).postgresLease('orders-db/readonly');
  });

  it('sees each lease end, as JSON lines, and a status that says that all are dead', async () => {
    expect(await worksAny(hers)).toBe(8);
    const args = ['revoke', '--user', user, '--reason', 'lost laptop', '--wait', '--json'];
    const { status, stdout } = await mayfly(stack, ['administrators'], ...args);
    const lines = linesOf(stdout);
    expect(lines.at(-1)).toMatchObject({
      type: 'result',
      outcome: 'ended',
      revocation: { matched: 8, revoked: 8, reason: 'lost laptop', subject: { kind: 'user', id: user } },
    });
    expect(status).toBe(0);
    const told = lines
      .filter(({ type }) => type === 'lease')
      .map(({ lease }) => lease as { lease_id: string });
    expect(told.map(({ lease_id }) => lease_id).sort()).toEqual(hers.map(({ lease_id }) => lease_id).sort());
    expect(await worksAny(hers)).toBe(0);
    expect(await works(bystander)).toBe(true);
  });

  it('may revoke again, which finds nothing, and the agents may ask anew', async () => {
    const again = await mayfly(
      stack,
      ['administrators'],
      'revoke',
      '--user',
      user,
      '--reason',
      'x',
      '--wait',
    );
    expect(again).toMatchObject({ status: 0, stdout: '' });
    expect(again.stderr).toContain('no live lease matches');
    expect(await codeOf(agents[0]?.lease('orders-db/readonly') ?? Promise.resolve())).toBe('ok');
  });

  it('is told of what can not be called back, by lines and by the status', async () => {
    const jwtUser = `jwt-${randomUUID()}@example.com`;
    const agent = await openSession(stack, agentClaims({ on_behalf_of: jwtUser }));
    const token = await agent.lease('reports-api/read', { ttl_seconds: 60 });
    const args = ['revoke', '--user', jwtUser, '--reason', 'x', '--wait'];
    const { status, stdout, stderr } = await mayfly(stack, ['administrators'], ...args);
    expect(status).toBe(30);
    expect(stdout).toContain(`${token.lease_id}  reports-api/read  can't be called back, dead in`);
    expect(stderr).toContain('the last is dead in');
  });

  it('leaves an auditor a row that tells who, what, why and how it went', async () => {
    const client = new pg.Client({ connectionString: stack.auditorUrl });
    await client.connect();
    try {
      const find = async () =>
        (
          await client.query<Record<string, unknown>>(
            `SELECT * FROM audit.revocations WHERE subject_id = $1 ORDER BY requested_at LIMIT 1`,
            [user],
          )
        ).rows[0];
      await waitUntil(
        'recording the end',
        async () => (await find())?.['completed_at'] instanceof Date,
        within,
      );
      expect(await find()).toMatchObject({
        organization: 'acme',
        asked_by: expect.stringMatching(/^spiffe:\/\/acme\.example\/person\//),
        subject_kind: 'user',
        reason: 'lost laptop',
        matched: 8,
        ended: '8',
      });
    } finally {
      await client.end();
    }
  });
});

describe('an administrator who blocks', () => {
  const stack = wholeStack();

  it('stops new leases, new sessions and none that there are; unblocked, all is as before', async () => {
    const claims = agentClaims();
    const agent = await openSession(stack, claims);
    const lease = await agent.postgresLease('orders-db/readonly');
    const id = `spiffe://acme.example/agent/e2e/orders-report/${String(claims['instance'])}`;
    const blocked = await mayfly(
      stack,
      ['administrators'],
      'block',
      '--agent',
      id,
      '--reason',
      'odd',
      '--until',
      '2h',
    );
    expect(blocked).toMatchObject({ status: 0, stderr: '' });
    expect(await codeOf(agent.lease('orders-db/readonly'))).toBe('policy_denied');
    await expect(openSession(stack, claims)).rejects.toThrow(blockedReason);
    expect(await works(lease)).toBe(true);
    expect((await mayfly(stack, ['administrators'], 'blocks')).stdout).toContain(`agent ${id}`);
    expect((await mayfly(stack, ['administrators'], 'unblock', '--agent', id)).status).toBe(0);
    expect(await codeOf(agent.lease('orders-db/readonly'))).toBe('ok');
    await openSession(stack, claims);
  });

  it('with --revoke ends what there is in the same go', async () => {
    const user = `mallory-${randomUUID()}@example.com`;
    const agent = await openSession(stack, agentClaims({ on_behalf_of: user }));
    const leases = await Promise.all([1, 2, 3].map(() => agent.postgresLease('orders-db/readonly')));
    const args = ['block', '--user', user, '--reason', 'x', '--revoke', '--wait', '--json'];
    const { status, stdout } = await mayfly(stack, ['administrators'], ...args);
    expect(status).toBe(0);
    expect(linesOf(stdout).at(-1)).toMatchObject({ outcome: 'ended', revocation: { matched: 3 } });
    expect(await worksAny(leases)).toBe(0);
    expect(await codeOf(agent.lease('orders-db/readonly'))).toBe('policy_denied');
    await mayfly(stack, ['administrators'], 'unblock', '--user', user);
  });

  it('is obeyed also when the gateway dies after the block and before the revocation', async () => {
    const user = `trudy-${randomUUID()}@example.com`;
    const agent = await openSession(stack, agentClaims({ on_behalf_of: user }));
    const lease = await agent.postgresLease('orders-db/readonly');
    const administrator = await openSession(stack, personClaims(['administrators']));
    const files = keyFiles(stack.keysFolder);
    const connection = await connectBus({
      servers: stack.natsUrl,
      service: 'gateway',
      seedFile: join(stack.keysFolder, 'gateway', 'nats.nk'),
    });
    try {
      // As the gateway would, which then does nothing more.
      const { block } = await new BusClient(connection).call(bus.policy.addBlock, {
        token: await sealTo(
          await loadSealingPublicKey(files.public.policySealing),
          administrator.sessionToken,
        ),
        subject: { kind: 'user', id: user },
        reason: 'x',
        revoke: true,
        source_ip: '127.0.0.1',
      });
      await waitUntil('ending it', async () => !(await works(lease)), within);
      const { revocations } = (await administrator.call('GET', '/v1/revocations')) as {
        revocations: { subject: object; matched: number }[];
      };
      const ordered = revocations.filter(({ subject }) => 'id' in subject && subject.id === user);
      expect(ordered).toMatchObject([{ matched: 1 }]);
      await administrator.call('DELETE', `/v1/blocks/${block.block_id}`);
    } finally {
      await connection.close();
    }
  });

  it('answers when no mint under way can come out any more', async () => {
    const claims = agentClaims();
    const agent = await openSession(stack, claims);
    const id = `spiffe://acme.example/agent/e2e/orders-report/${String(claims['instance'])}`;
    const administrator = await openSession(stack, personClaims(['administrators']));
    const asked: Promise<{ at: number; code: string }>[] = [];
    const ask = () =>
      codeOf(agent.lease('orders-db/readonly', { ttl_seconds: 30 })).then((code) => ({
        at: performance.now(),
        code,
      }));
    for (let index = 0; index < 10; index++) asked.push(ask());
    const { block } = (await administrator.call('POST', '/v1/blocks', {
      subject: { kind: 'agent', id },
      reason: 'x',
    })) as { block: { block_id: string } };
    const issuedBy = new Date();
    for (let index = 0; index < 10; index++) asked.push(ask());
    const answers = await Promise.all(asked);
    expect(answers.slice(10).map(({ code }) => code)).toEqual(
      Array.from({ length: 10 }, () => 'policy_denied'),
    );
    const late = (await agent.leases('all')).filter(
      ({ issued_at }) => issued_at !== undefined && Date.parse(issued_at) > issuedBy.getTime(),
    );
    expect(late).toEqual([]);
    await administrator.call('DELETE', `/v1/blocks/${block.block_id}`);
  });

  it('of another organization changes nothing here', async () => {
    const user = `shared-${randomUUID()}@example.com`;
    const agent = await openSession(stack, agentClaims({ on_behalf_of: user }));
    const stranger = await openSession(stack, personClaims(['administrators'], { org: 'globex' }));
    await stranger.call('POST', '/v1/blocks', {
      subject: { kind: 'user', id: user },
      reason: 'x',
      revoke: true,
    });
    expect(await codeOf(agent.lease('orders-db/readonly'))).toBe('ok');
  });

  it('is an administrator', async () => {
    const agent = await openSession(stack);
    const request = { subject: { kind: 'user', id: 'x' }, reason: 'x' };
    expect(await codeOf(agent.call('POST', '/v1/blocks', request))).toBe('policy_denied');
    expect(await codeOf(agent.call('GET', '/v1/blocks'))).toBe('policy_denied');
    expect(await codeOf(agent.call('GET', '/v1/revocations'))).toBe('policy_denied');
  });
});

describe('a stack of its own', () => {
  let stack: TestStack;
  beforeAll(async () => {
    // Answers as soon as the revocation is durable.
    stack = await startWholeStack({ env: { revocation: { MAYFLY_END_ANSWER_MS: '1' } } });
  }, 120_000);
  afterAll(() => stack.stop());

  it('forgets no revocation when the register is killed right after its answer', async () => {
    const user = 'ada@example.com';
    const agents = await Promise.all(
      Array.from({ length: 5 }, () => openSession(stack, agentClaims({ on_behalf_of: user }))),
    );
    const leases = await Promise.all(
      agents.flatMap((agent) => Array.from({ length: 8 }, () => agent.postgresLease('orders-db/readonly'))),
    );
    const administrator = await openSession(stack, personClaims(['administrators']));
    // Nothing ends at Postgres before the register is dead.
    await stack.services.minting.kill('SIGSTOP');
    const { revocation_id } = (await administrator.call('POST', '/v1/revocations', {
      subject: { kind: 'user', id: user },
      reason: 'test',
    })) as { revocation_id: string };
    await stack.services.revocation.kill('SIGKILL');
    expect(await worksAny(leases)).toBe(40);
    await stack.services.minting.kill('SIGCONT');
    await stack.services.revocation.restart();
    const progress = async () =>
      (await administrator.call('GET', `/v1/revocations/${revocation_id}?limit=0`)) as {
        revocation: { status: string; matched: number };
      };
    await waitUntil('ending all', async () => (await progress()).revocation.status === 'done', within);
    expect((await progress()).revocation).toMatchObject({ matched: 40, revoked: 40 });
    expect(await worksAny(leases)).toBe(0);
  }, 90_000);

  it('is told at once what a document removes, whose leases end though their upstream hangs for now', async () => {
    const lease = await (await openSession(stack)).postgresLease('orders-db/limited');
    const platform = await openSession(stack, personClaims(['platform-administrators']));
    const { document } = (await platform.call('GET', '/v1/config')) as { document: string };
    const changed = document.replaceAll('orders-db/limited', 'orders-db/restricted');
    expect(await codeOf(platform.call('PUT', '/v1/config', { document: changed }))).toBe('conflict');
    expect(await works(lease)).toBe(true);

    await stack.services.minting.kill('SIGSTOP');
    const began = performance.now();
    const answer = (await platform.call('PUT', '/v1/config', { document: changed, end_leases: true })) as {
      revocations: { organization: string; subject: object; revocation_id: string }[];
    };
    expect(performance.now() - began).toBeLessThan(3_000);
    expect(answer.revocations).toEqual([
      {
        organization: 'acme',
        subject: { kind: 'credential', id: 'orders-db/limited' },
        revocation_id: expect.any(String) as unknown,
      },
    ]);
    await stack.services.minting.kill('SIGCONT');
    await waitUntil('ending it', async () => !(await works(lease)), within);
    const revocation = `/v1/revocations/${answer.revocations[0]?.revocation_id ?? ''}`;
    expect(await platform.call('GET', revocation)).toMatchObject({ revocation: { matched: 1 } });
  }, 60_000);

  it('is emptied, of every organization, by a platform administrator who revokes everything', async () => {
    const acme = await (await openSession(stack)).postgresLease('orders-db/readonly');
    const globex = await openSession(stack, agentClaims({ org: 'globex' }));
    await globex.postgresLease('orders-db/readonly');
    const args = ['revoke', '--everything', '--reason', 'drill', '--wait'];
    expect((await mayfly(stack, ['administrators'], ...args)).status).toBe(11);
    expect(await works(acme)).toBe(true);
    expect((await mayfly(stack, ['platform-administrators'], ...args)).status).toBe(0);
    expect(await works(acme)).toBe(false);
    expect(await globex.leases()).toEqual([]);
  }, 60_000);
});
