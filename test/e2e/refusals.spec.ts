/** What is refused, with which code, and that nothing is minted for it. */
import { describe, expect, it } from '@jest/globals';
import { Refused } from '@mayfly/stack';
import { agentClaims, identityToken, openSession, personClaims, wholeStack } from '@mayfly/testing';

const stack = wholeStack();

async function refusal(
  ask: Promise<unknown>,
): Promise<{ code: string; detail: string; status: number; trace_id?: string | undefined }> {
  try {
    await ask;
  } catch (error) {
    if (error instanceof Refused) return error.problem;
    throw error;
  }
  throw new Error('It was granted.');
}

describe('a request beyond what policy allows', () => {
  it.each([
    ['a credential that the role may not have', 'orders-db/writer', {}, 'policy_denied', 403],
    ['a credential that does not exist', 'orders-db/nothing', {}, 'not_found', 404],
    ['a credential that needs approval', 'orders-db/approved-writer', {}, 'policy_denied', 403],
    [
      'more privileges',
      'orders-db/readonly',
      { scope: { privileges: ['SELECT', 'DELETE'] } },
      'scope_exceeded',
      403,
    ],
    [
      'another schema',
      'orders-db/readonly',
      { scope: { schemas: ['public', 'pg_catalog'] } },
      'scope_exceeded',
      403,
    ],
    ['a longer life', 'orders-db/readonly', { ttl_seconds: 901 }, 'ttl_exceeded', 403],
    [
      'a scope in another form',
      'orders-db/readonly',
      { scope: { everything: true } },
      'invalid_request',
      400,
    ],
    ['an upstream that is down', 'down-db/readonly', {}, 'provider_unavailable', 503],
  ])('is refused: %s', async (_what, credential, request, code, status) => {
    const agent = await openSession(stack);
    const problem = await refusal(agent.lease(credential, request));
    expect(problem).toMatchObject({ code, status });
    expect(problem.trace_id).toMatch(/^[0-9a-f]{32}$/);
    expect(problem.detail.length).toBeGreaterThan(10);
    expect(await agent.leases()).toEqual([]);
  });

  it('is refused above a limit, and granted again when a place is free', async () => {
    const agent = await openSession(stack);
    const first = await agent.lease('orders-db/limited');
    await agent.lease('orders-db/limited');
    expect(await refusal(agent.lease('orders-db/limited'))).toMatchObject({
      code: 'limit_exceeded',
      status: 429,
    });
    await agent.giveBack(first.lease_id);
    // The place is freed by the end's event, a moment later.
    await expect(eventually(() => agent.lease('orders-db/limited'))).resolves.toBeDefined();
  });

  it.each([
    // After a few failures its breaker is open: then minting refuses before anything is begun, and no event tells of it.
    ['the upstream is away', 'away-db/scarce', 'provider_unavailable'],
    ['the upstream refuses', 'orders-db/nowhere', 'provider_rejected'],
  ])(
    'leaves its place within the limits to the next when nothing came of it: %s',
    async (_, credential, code) => {
      const agent = await openSession(stack);
      const codes: string[] = [];
      for (let round = 0; round < 10; round++) {
        const { code } = await eventually(async () => {
          const problem = await refusal(agent.lease(credential));
          if (problem.code === 'limit_exceeded') throw new Error('the place is still held');
          return problem;
        });
        codes.push(code);
      }
      expect(codes).toEqual(Array(10).fill(code));
    },
  );

  it('is refused to a person, who asks for nothing', async () => {
    const person = await openSession(stack, personClaims(['administrators']));
    expect(await refusal(person.lease('orders-db/readonly'))).toMatchObject({ code: 'policy_denied' });
  });
});

describe('an administrative call', () => {
  const subject = { kind: 'credential', id: 'orders-db/readonly' };

  it.each([
    ['revoking', 'POST', '/v1/revocations', { subject, reason: 'test' }],
    ['reading the configuration', 'GET', '/v1/config', undefined],
    ['changing the configuration', 'PUT', '/v1/config', { document: '' }],
    ['reading the audit log', 'GET', '/v1/audit/events', undefined],
  ])('is refused to an agent: %s', async (_what, method, path, body) => {
    const agent = await openSession(stack);
    expect(await refusal(agent.call(method, path, body))).toMatchObject({ code: 'policy_denied' });
  });

  it('is refused to an auditor who wants to revoke', async () => {
    const auditor = await openSession(stack, personClaims(['auditors']));
    expect(await refusal(auditor.call('POST', '/v1/revocations', { subject, reason: 'test' }))).toMatchObject(
      { code: 'policy_denied' },
    );
  });

  it('is refused to an administrator of one organization who wants to change the whole document', async () => {
    const administrator = await openSession(stack, personClaims(['administrators']));
    expect(await refusal(administrator.call('PUT', '/v1/config', { document: '' }))).toMatchObject({
      code: 'policy_denied',
    });
  });

  it('is granted to whom it is for', async () => {
    const platform = await openSession(stack, personClaims(['platform-administrators']));
    expect(await platform.call('GET', '/v1/config')).toMatchObject({ version: 1 });
    const auditor = await openSession(stack, personClaims(['auditors']));
    expect(await auditor.call('GET', '/v1/audit/events?limit=1')).toHaveProperty('events');
  });

  it('rejects a wrong configuration with the place of every mistake, and keeps the running one', async () => {
    const platform = await openSession(stack, personClaims(['platform-administrators']));
    const document =
      'organizations:\n  - name: acme\n    trust_domian: acme.example\ncredentials:\n  - name: nowhere/x\n';
    const answer = (await platform.call('PUT', '/v1/config', { document })) as {
      outcome: string;
      problems: { line?: number; message: string }[];
    };
    expect(answer.outcome).toBe('rejected');
    expect(answer.problems.map(({ line }) => line)).toContain(3);
    expect(await platform.call('GET', '/v1/config')).toMatchObject({ version: 1 });
  });
});

describe('an administrator who revokes', () => {
  it('ends the leases of the subject', async () => {
    const agent = await openSession(stack);
    const lease = await agent.lease('orders-db/readonly');
    const administrator = await openSession(stack, personClaims(['administrators']));
    const answer = await administrator.call('POST', '/v1/revocations', {
      subject: { kind: 'lease', id: lease.lease_id },
      reason: 'test',
    });
    expect(answer).toMatchObject({ matched: 1, leases: [{ lease_id: lease.lease_id, outcome: 'revoked' }] });
  });
});

describe('a platform identity', () => {
  const exchange = async (token: string) => {
    const response = await fetch(`${stack.gatewayUrl}/v1/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: token,
        subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      }),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };

  it.each([
    ['of another audience', agentClaims(), { audience: 'somebody-else' }],
    ['of an unknown issuer', agentClaims(), { issuer: 'https://evil.example' }],
    ['that has expired', agentClaims(), { expiresInSeconds: -120 }],
    ['with a role that is not allowed', agentClaims({ role: 'root' }), {}],
    ['of an unknown organization', agentClaims({ org: 'initech' }), {}],
    ['whose task can not stand in a SPIFFE ID', agentClaims({ task: '../../admin' }), {}],
  ])('is refused %s', async (_what, claims, options) => {
    const { status, body } = await exchange(await identityToken(stack, claims, options));
    expect(status).toBe(400);
    expect(body).toMatchObject({ error: 'invalid_request' });
    expect(body).not.toHaveProperty('access_token');
  });

  it.each(['x', 'a.b.c', 'eyJhbGciOiJub25lIn0.e30.', 'a'.repeat(16_000)])(
    'is refused when it is no JWT: %.20s',
    async (token) => {
      expect((await exchange(token)).status).toBe(400);
    },
  );
});

async function eventually<T>(attempt: () => Promise<T>): Promise<T> {
  const end = Date.now() + 10_000;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
