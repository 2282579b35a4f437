import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { MayflyError } from '@mayfly/contracts';
import type { BusClient } from '@mayfly/messaging';
import { generateSealingKeyPair, sealTo } from '@mayfly/tokens';
import { Authorize } from '../authorization/authorize.ts';
import { ListCredentials } from '../decisions/list-credentials.ts';
import { runPolicy, sourceIp, type RunningPolicy } from '../spec-support/running-policy.ts';
import { analyst, globexAnalyst, personIn, twoOrganizations } from '../spec-support/two-organizations.ts';
import { ExchangeToken } from '../trust/exchange-token.ts';
import { EndSession } from './end-session.ts';
import { Hearing } from './hearing.ts';
import { Sweeper } from './sweeper.ts';

let policy: RunningPolicy;
/** Revocation, as policy reaches it: assertions of the sessions that it was asked to end. */
const askedToEnd: string[] = [];
let answer: () => Promise<unknown>;
beforeAll(async () => {
  const client = {
    call: (_operation: unknown, { assertion }: { assertion: string }) => {
      askedToEnd.push(assertion);
      return answer();
    },
  } as unknown as BusClient;
  policy = await runPolicy(twoOrganizations, { client });
});
afterAll(async () => {
  await policy.stop();
});
beforeEach(() => {
  policy.signals.splice(0);
  policy.hearsFor(600);
  askedToEnd.splice(0);
  answer = () => Promise.resolve({ matched: 0 });
});

const exchange = async (identity: string) =>
  policy.get(ExchangeToken).run({
    subject_token: await policy.seal(identity),
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    reply_key: policy.replyKey.publicJwk,
    source_ip: sourceIp,
  });
const authorize = (token: string, act: Parameters<Authorize['run']>[0]['act']) =>
  policy.get(Authorize).run({ token, act, source_ip: sourceIp });
const refusal = async (attempt: Promise<unknown>): Promise<MayflyError> => {
  const error: unknown = await attempt.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  if (!(error instanceof MayflyError)) throw new Error(`no refusal: ${String(error)}`);
  return error;
};

describe('exchangeToken', () => {
  it('opens a session for the TTL of its trust rule, with an event in the same transaction', async () => {
    const { sessionId, expiresIn } = await policy.open(analyst);
    expect(expiresIn).toBe(1800);
    const opened = (await policy.outbox()).find(({ subject }) => subject === sessionId);
    expect(opened).toMatchObject({
      type: 'dev.mayfly.session.opened.v1',
      data: {
        organization: 'acme',
        session_id: sessionId,
        agent_id: 'spiffe://acme.example/agent/ci/nightly/1',
        agent_role: 'analyst',
        user: 'ann@acme.example',
        task: 'nightly',
        source_ip: sourceIp,
        config_version: 1,
        action_context: { trust_rule: 'agents' },
      },
    });
    expect(policy.signals).toEqual([]);
  });

  it('I1: leaves neither the session token nor the identity token in Postgres', async () => {
    const { raw } = await policy.open(analyst);
    const { rows } = await policy.database.pool.query<{ row: string }>(
      'SELECT s::text AS row FROM policy.sessions s UNION ALL SELECT o::text FROM policy.outbox o',
    );
    expect(rows.some(({ row }) => row.includes(raw) || row.includes('eyJ'))).toBe(false);
  });

  it.each<[string, Record<string, unknown>, { issuer?: string; audience?: string }, RegExp]>([
    ['a role that its rule does not allow', { ...analyst, role: 'admin' }, {}, /No trust rule admits/],
    ['claims that no rule requires', { ...analyst, org: 'initech' }, {}, /No trust rule admits/],
    [
      'an issuer that nobody trusts',
      analyst,
      { issuer: 'https://evil.example' },
      /issuer that is not trusted/,
    ],
    ['another audience', analyst, { audience: 'elsewhere' }, /another audience/],
  ])('refuses %s, and tells audit', async (_what, claims, options, reason) => {
    const error = await refusal(exchange(await policy.identity(claims, options)));
    expect(error.code).toBe('unauthenticated');
    expect(error.reason).toMatch(reason);
    expect(policy.signals).toMatchObject([
      { type: 'dev.mayfly.session.rejected.v1', data: { source_ip: sourceIp, outcome: 'unauthenticated' } },
    ]);
  });

  it('I5: tells a refused asker no name of a rule or organization; the signal has them', async () => {
    const error = await refusal(exchange(await policy.identity({ ...analyst, role: 'admin' })));
    expect(error.message).not.toMatch(/acme|globex|agents|people/);
    expect(policy.signals).toMatchObject([{ data: { organization: 'acme' } }]);
    expect(policy.signals[0]?.data.reason).toContain('trust rule agents');
  });

  it('refuses a forged signature, an altered token and what was not sealed to it', async () => {
    const identity = await policy.identity(analyst);
    const [header, payload, signature] = identity.split('.');
    const altered = Buffer.from(payload ?? '', 'base64url')
      .toString()
      .replace('analyst', 'writer');
    const forged = `${header}.${Buffer.from(altered).toString('base64url')}.${signature}`;
    expect((await refusal(exchange(forged))).code).toBe('unauthenticated');
    expect((await refusal(exchange('not a token'))).code).toBe('unauthenticated');
    const elsewhere = await generateSealingKeyPair();
    const attempt = policy.get(ExchangeToken).run({
      subject_token: await sealTo(elsewhere.publicJwk, identity),
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      reply_key: policy.replyKey.publicJwk,
      source_ip: sourceIp,
    });
    expect((await refusal(attempt)).code).toBe('unauthenticated');
  });

  it('does not take its own session token for an identity (I7)', async () => {
    const { raw } = await policy.open(analyst);
    expect((await refusal(exchange(raw))).code).toBe('unauthenticated');
  });
});

describe('endSession', () => {
  const end = (token: string) => policy.get(EndSession).run({ token, source_ip: sourceIp });

  it('ends the session at once, with one event, and answers with the assertion each time', async () => {
    const { token, sessionId } = await policy.open(analyst);
    await authorize(token, { action: 'list_leases' });
    const first = await end(token);
    const second = await end(token);
    for (const { assertion } of [first, second]) {
      expect(await policy.readAssertion(assertion ?? '')).toMatchObject({
        actor: { session_id: sessionId, organization: 'acme' },
        act: { action: 'end_session', session_id: sessionId },
      });
    }
    const closed = (await policy.outbox()).filter(
      ({ subject, type }) => subject === sessionId && type === 'dev.mayfly.session.closed.v1',
    );
    expect(closed).toHaveLength(1);
    expect((await refusal(authorize(token, { action: 'list_leases' }))).code).toBe('unauthenticated');
    const listing = policy.get(ListCredentials).run({ token, source_ip: sourceIp });
    expect((await refusal(listing)).code).toBe('unauthenticated');
  });

  it('answers with nothing for an invalid token (RFC 7009 §2.2)', async () => {
    expect(await end(await policy.seal('nonsense'))).toEqual({});
    expect(await end(await policy.seal(await policy.identity(analyst)))).toEqual({});
  });
});

describe('the sweep', () => {
  it('marks a session whose time has come and tells it once', async () => {
    const { token, sessionId } = await policy.open(analyst);
    await policy.database.pool.query(
      `UPDATE policy.sessions SET opened_at = opened_at - interval '1 hour', expires_at = now() - interval '1 second'
       WHERE id = $1`,
      [sessionId],
    );
    expect((await refusal(authorize(token, { action: 'list_leases' }))).code).toBe('unauthenticated');
    await policy.get(Sweeper).sweep();
    await policy.get(Sweeper).sweep();
    const told = (await policy.outbox())
      .filter(({ subject }) => subject === sessionId)
      .map(({ type }) => type);
    expect(told).toEqual(['dev.mayfly.session.opened.v1', 'dev.mayfly.session.expired.v1']);
  });
});

describe('a session that asked for a heartbeat', () => {
  const open = async () => {
    const opened = await policy.get(ExchangeToken).run({
      subject_token: await policy.seal(await policy.identity(analyst)),
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      heartbeat_seconds: 30,
      reply_key: policy.replyKey.publicJwk,
      source_ip: sourceIp,
    });
    const token = await policy.seal(await policy.replyKey.open(opened.access_token));
    return { token, sessionId: opened.session_id };
  };
  /** As if it had last been heard of so many seconds ago. */
  const heardAgo = (sessionId: string, seconds: number) =>
    policy.database.pool.query(
      `UPDATE policy.sessions SET heard_until = now() + make_interval(secs => 30 - $2::integer) WHERE id = $1`,
      [sessionId, seconds],
    );
  const secondsLeft = async (sessionId: string) => {
    const { rows } = await policy.database.pool.query<{ left: number }>(
      'SELECT extract(epoch FROM heard_until - now())::float AS left FROM policy.sessions WHERE id = $1',
      [sessionId],
    );
    return rows[0]?.left ?? NaN;
  };
  const told = async (sessionId: string) =>
    (await policy.outbox())
      .filter(({ subject }) => subject === sessionId)
      .map(({ type, data }) => `${type} ${data.reason ?? ''}`.trim());

  it('is closed, for its leases to end, when it goes unheard for longer, and only then', async () => {
    const [lost, heard] = [await open(), await open()];
    await heardAgo(lost.sessionId, 31);
    await heardAgo(heard.sessionId, 29);
    await policy.get(Sweeper).sweep();
    await policy.get(Sweeper).sweep();
    expect(await told(lost.sessionId)).toEqual([
      'dev.mayfly.session.opened.v1',
      'dev.mayfly.session.closed.v1 heartbeat lost',
    ]);
    expect(await told(heard.sessionId)).toEqual(['dev.mayfly.session.opened.v1']);
    expect((await refusal(authorize(lost.token, { action: 'list_leases' }))).code).toBe('unauthenticated');
  });

  it('is heard by any call with its token, written down once in a third of the time', async () => {
    const { token, sessionId } = await open();
    await heardAgo(sessionId, 5);
    await authorize(token, { action: 'list_leases' });
    expect(await secondsLeft(sessionId)).toBeLessThanOrEqual(25);
    await heardAgo(sessionId, 20);
    await authorize(token, { action: 'list_leases' });
    expect(await secondsLeft(sessionId)).toBeGreaterThan(25);
  });

  it('is not brought back by a call that comes too late', async () => {
    const { token, sessionId } = await open();
    await heardAgo(sessionId, 31);
    await authorize(token, { action: 'list_leases' });
    await policy.get(Sweeper).sweep();
    expect((await refusal(authorize(token, { action: 'list_leases' }))).code).toBe('unauthenticated');
  });

  it('has its leases ended by revocation at once, whatever becomes of the event', async () => {
    const { sessionId } = await open();
    await heardAgo(sessionId, 31);
    await policy.get(Sweeper).sweep();
    const assertions = await Promise.all(askedToEnd.map((assertion) => policy.readAssertion(assertion)));
    expect(assertions).toEqual([
      expect.objectContaining({
        actor: expect.objectContaining({ organization: 'acme', session_id: sessionId }),
        act: { action: 'end_session', session_id: sessionId },
      }),
    ]);
    // Once: what is repeated is repeated by the event.
    await policy.get(Sweeper).sweep();
    expect(askedToEnd).toHaveLength(1);
  });

  it('is closed as well while revocation does not answer: the event is there for its leases', async () => {
    answer = () => Promise.reject(new MayflyError('dependency_unavailable', 'nobody answers'));
    const { sessionId } = await open();
    await heardAgo(sessionId, 31);
    await policy.get(Sweeper).sweep();
    expect(await told(sessionId)).toContain('dev.mayfly.session.closed.v1 heartbeat lost');
    expect(policy.logLines.join()).toContain('left for the event log');
  });

  describe('after an outage of Mayfly', () => {
    it('is closed when it stays unheard for its whole time after that, and not before', async () => {
      const { sessionId } = await open();
      await heardAgo(sessionId, 300);
      policy.hearsFor(29);
      await policy.get(Sweeper).sweep();
      expect(await told(sessionId)).toEqual(['dev.mayfly.session.opened.v1']);
      policy.hearsFor(30);
      await policy.get(Sweeper).sweep();
      expect(await told(sessionId)).toContain('dev.mayfly.session.closed.v1 heartbeat lost');
    });

    it('goes on when it is heard again within that time', async () => {
      const { token, sessionId } = await open();
      await heardAgo(sessionId, 300);
      policy.hearsFor(10);
      await authorize(token, { action: 'list_leases' });
      policy.hearsFor(600);
      await policy.get(Sweeper).sweep();
      expect(await told(sessionId)).toEqual(['dev.mayfly.session.opened.v1']);
      expect(await secondsLeft(sessionId)).toBeGreaterThan(25);
    });

    it('is not closed for what was missed while Postgres was away', async () => {
      const lost = policy.get(Hearing).secondsAt(performance.now());
      expect(lost).toBeGreaterThan(500);
      await policy.database.pool.query('ALTER TABLE policy.blocks RENAME TO blocks_away');
      await expect(policy.get(Sweeper).sweep()).rejects.toThrow();
      await policy.database.pool.query('ALTER TABLE policy.blocks_away RENAME TO blocks');
      expect(policy.get(Hearing).secondsAt(performance.now())).toBeLessThan(500);
    });
  });
});

describe('authorize', () => {
  it('signs who asks for what, for the answering service alone', async () => {
    const { token } = await policy.open(personIn('auditors'));
    const { assertion } = await authorize(token, { action: 'read_audit' });
    expect(await policy.readAssertion(assertion, 'mayfly-audit')).toMatchObject({
      kind: 'person',
      person_roles: ['auditor'],
      act: { action: 'read_audit' },
    });
    expect((await refusal(policy.readAssertion(assertion))).code).toBe('unauthenticated');
  });

  it('refuses an agent what only people may, and tells audit', async () => {
    const { token } = await policy.open(analyst);
    expect((await refusal(authorize(token, { action: 'read_audit' }))).code).toBe('policy_denied');
    expect(policy.signals).toMatchObject([
      { type: 'dev.mayfly.request.denied.v1', data: { action_context: { action: 'read_audit' } } },
    ]);
  });
});

describe('listCredentials', () => {
  const list = async (claims: Record<string, unknown>) => {
    const { token } = await policy.open(claims);
    return policy.get(ListCredentials).run({ token, source_ip: sourceIp });
  };

  it('shows an agent what its role may ask for, with the bounds', async () => {
    const { credentials } = await list(analyst);
    expect(credentials.map(({ credential }) => credential)).toEqual(['tool/read', 'tool/limited']);
    expect(credentials[0]).toEqual({
      credential: 'tool/read',
      provider: 'jwt',
      description: 'Reads orders',
      scope: { scopes: ['read:orders:*'] },
      ttl: { default_seconds: 300, max_seconds: 900 },
      limits: {},
      revocability: { kind: 'expiry_only' },
      renewable: false,
      writes: false,
      approval: 'off',
    });
  });

  it('I5: shows nothing of another organization, and people nothing at all', async () => {
    expect((await list(globexAnalyst)).credentials.map(({ credential }) => credential)).toEqual([
      'plans/read',
    ]);
    expect((await list(personIn('admins'))).credentials).toEqual([]);
  });
});
