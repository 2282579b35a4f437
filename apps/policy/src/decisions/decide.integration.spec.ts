import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { MayflyError, type MayflyEvent } from '@mayfly/contracts';
import { newEvent } from '@mayfly/messaging';
import { generateSealingKeyPair } from '@mayfly/tokens';
import { EndSession } from '../sessions/end-session.ts';
import { runPolicy, sourceIp, type RunningPolicy } from '../spec-support/running-policy.ts';
import { analyst, globexAnalyst, personIn, twoOrganizations } from '../spec-support/two-organizations.ts';
import { Decide } from './decide.ts';
import { LeaseRegister } from './lease-register.ts';

let policy: RunningPolicy;
beforeAll(async () => {
  policy = await runPolicy(twoOrganizations);
});
afterAll(async () => {
  await policy.stop();
});
beforeEach(() => {
  policy.signals.splice(0);
});

type Request = Omit<Parameters<Decide['run']>[0], 'token' | 'reply_key' | 'source_ip'>;
const ask = (token: string, request: Request) =>
  policy.get(Decide).run({ token, reply_key: policy.replyKey.publicJwk, source_ip: sourceIp, ...request });
const allowed = async (token: string, request: Request) => {
  const answer = await ask(token, request);
  if (answer.decision !== 'allow') throw new Error(`not allowed: ${JSON.stringify(answer)}`);
  return answer;
};
const codeOf = (attempt: Promise<unknown>) =>
  attempt.then(
    () => 'ok',
    (error: unknown) => (error instanceof MayflyError ? error.code : String(error)),
  );
const idempotency = { key: 'k', body_sha256: 'a'.repeat(64) };
const happened = (type: 'credential.issued' | 'credential.revoked', leaseId: string): MayflyEvent =>
  newEvent('revocation', type, { lease_id: leaseId });

describe('an allowed request', () => {
  it('gets a grant with all that minting needs', async () => {
    const { token, sessionId } = await policy.open(analyst);
    const answer = await allowed(token, {
      credential: 'tool/read',
      ttl_seconds: 60,
      scope: { scopes: ['read:orders:7'] },
      claimed_task: 'count orders',
      justification: 'monthly report',
    });
    expect(answer.recipient).toBe('gateway');
    const grant = await policy.readGrant(answer.grant);
    expect(grant).toMatchObject({
      jti: answer.lease_id,
      actor: {
        organization: 'acme',
        session_id: sessionId,
        agent_id: 'spiffe://acme.example/agent/ci/nightly/1',
        agent_role: 'analyst',
        user: 'ann@acme.example',
        task: 'nightly',
      },
      claimed_task: 'count orders',
      justification: 'monthly report',
      source_ip: sourceIp,
      credential: 'tool/read',
      provider: 'jwt',
      integration: { name: 'tool', secret_references: ['env:ACME_'] },
      bounds: { scopes: ['read:orders:*'] },
      scope: { scopes: ['read:orders:7'] },
      ttl_seconds: 60,
      recipient_key: policy.replyKey.publicJwk,
      policy_ids: ['roles:tool/read'],
      config_version: 1,
    });
    expect(grant.exp - grant.iat).toBe(30);
    expect(await policy.readAssertion(answer.give_back)).toMatchObject({
      act: { action: 'end_lease', lease_id: answer.lease_id, reason: 'undelivered' },
    });
    expect(answer).not.toHaveProperty('supersedes');
  });

  it('is sealed to the key of the session when it has one, whatever the gateway says', async () => {
    const own = await generateSealingKeyPair();
    const { token } = await policy.open(analyst, own);
    const answer = await allowed(token, { credential: 'tool/read' });
    expect(answer.recipient).toBe('session');
    expect((await policy.readGrant(answer.grant)).recipient_key).toEqual(own.publicJwk);
  });

  it('I4: gets a TTL cut at the end of the session, and that end, both by the clock of Postgres', async () => {
    const { token, sessionId } = await policy.open(analyst);
    const { rows } = await policy.database.pool.query<{ expires_at: Date }>(
      `UPDATE policy.sessions SET expires_at = now() + interval '60.5 seconds' WHERE id = $1 RETURNING expires_at`,
      [sessionId],
    );
    const answer = await allowed(token, { credential: 'tool/read', ttl_seconds: 600 });
    expect(answer.ttl_adjusted).toEqual({ requested_seconds: 600, reason: 'the session ends before' });
    const grant = await policy.readGrant(answer.grant);
    expect(grant.ttl_seconds).toBeLessThanOrEqual(60);
    // A mint may be slow: the register holds the lease to it.
    expect(grant.session_expires_at).toBe(rows[0]?.expires_at.toISOString());
  });
});

describe('limits', () => {
  it('let exactly three of twenty simultaneous requests of a session through', async () => {
    const { token } = await policy.open(analyst);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => ask(token, { credential: 'tool/limited' })),
    );
    expect(answers.filter(({ decision }) => decision === 'allow')).toHaveLength(3);
    const denied = answers.filter((answer) => answer.decision === 'deny');
    expect(new Set(denied.map(({ code }) => code))).toEqual(new Set(['limit_exceeded']));
    expect(policy.signals).toHaveLength(17);
  });

  it('are freed by the end of a lease, in whatever order the events come', async () => {
    const { token } = await policy.open(analyst);
    const [first] = await Promise.all([1, 2, 3].map(() => allowed(token, { credential: 'tool/limited' })));
    const lease = first?.lease_id ?? '';
    await policy.get(LeaseRegister).record([happened('credential.revoked', lease)]);
    await policy.get(LeaseRegister).record([happened('credential.issued', lease)]);
    expect((await ask(token, { credential: 'tool/limited' })).decision).toBe('allow');
    expect((await ask(token, { credential: 'tool/limited' })).decision).toBe('deny');
  });
});

describe('an Idempotency-Key', () => {
  it('repeated while the lease lives supersedes it; while it is minted, or for another body, is a conflict', async () => {
    const { token } = await policy.open(analyst);
    const first = await allowed(token, { credential: 'tool/read', idempotency });
    expect(await codeOf(ask(token, { credential: 'tool/read', idempotency }))).toBe('conflict');
    await policy.get(LeaseRegister).record([happened('credential.issued', first.lease_id)]);
    const second = await allowed(token, { credential: 'tool/read', idempotency });
    expect(second.supersedes?.lease_id).toBe(first.lease_id);
    expect(await policy.readAssertion(second.supersedes?.assertion ?? '')).toMatchObject({
      act: { action: 'end_lease', lease_id: first.lease_id, reason: 'superseded' },
    });
    const other = { ...idempotency, body_sha256: 'b'.repeat(64) };
    expect(await codeOf(ask(token, { credential: 'tool/read', idempotency: other }))).toBe('conflict');
  });
});

describe('a refused request', () => {
  it('tells the asker a short reason and audit the full one', async () => {
    const { token, sessionId } = await policy.open({ ...analyst, role: 'writer' });
    expect(await ask(token, { credential: 'tool/read', claimed_task: 'x', ttl_seconds: 5 })).toEqual({
      decision: 'deny',
      code: 'policy_denied',
      reason: 'no policy permits writer to mint tool/read',
    });
    expect(policy.signals).toMatchObject([
      {
        type: 'dev.mayfly.request.denied.v1',
        source: '//mayfly/policy',
        subject: sessionId,
        data: {
          organization: 'acme',
          session_id: sessionId,
          credential: 'tool/read',
          integration: 'tool',
          provider: 'jwt',
          claimed_task: 'x',
          ttl_seconds: 5,
          source_ip: sourceIp,
          outcome: 'policy_denied',
          config_version: 1,
        },
      },
    ]);
  });

  it("I5: says the same of another organization's credential as of none", async () => {
    const { token } = await policy.open(analyst);
    const foreign = await ask(token, { credential: 'plans/read' });
    const absent = await ask(token, { credential: 'plans/none' });
    expect(foreign).toEqual({
      decision: 'deny',
      code: 'not_found',
      reason: 'no credential plans/read that you may ask for',
    });
    expect(JSON.stringify(absent)).toBe(JSON.stringify(foreign).replace('plans/read', 'plans/none'));
    const { token: own } = await policy.open(globexAnalyst);
    expect((await ask(own, { credential: 'plans/read' })).decision).toBe('allow');
  });

  it('is refused to people', async () => {
    const { token } = await policy.open(personIn('admins'));
    expect(await ask(token, { credential: 'tool/read' })).toMatchObject({ code: 'policy_denied' });
  });

  it('is told nothing but that when the session has ended', async () => {
    const { token } = await policy.open(analyst);
    await policy.get(EndSession).run({ token, source_ip: sourceIp });
    expect(await codeOf(ask(token, { credential: 'tool/read' }))).toBe('unauthenticated');
    expect(await codeOf(ask(token, { credential: 'tool/none' }))).toBe('unauthenticated');
    expect(policy.signals).toEqual([]);
  });
});
