/** Decisions on renewals: by the configuration, the session and the lease as they are now. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { MayflyError } from '@mayfly/contracts';
import { hasMark, leaseMark } from '@mayfly/domain';
import { newEvent } from '@mayfly/messaging';
import { loadVerificationKeys, tokenKinds, TokenVerifier } from '@mayfly/tokens';
import { Blocks } from '../blocks/blocks.ts';
import { ApplyConfig } from '../configuration/apply-config.ts';
import { EndSession } from '../sessions/end-session.ts';
import { runPolicy, sourceIp, type RunningPolicy } from '../spec-support/running-policy.ts';
import { analyst, globexAnalyst, personIn, twoOrganizations } from '../spec-support/two-organizations.ts';
import { Decide } from './decide.ts';
import { LeaseRegister } from './lease-register.ts';
import { Renew } from './renew.ts';

const writer = { ...analyst, role: 'writer' };

let policy: RunningPolicy;
let token: string;
let sessionId: string;

beforeAll(async () => {
  policy = await runPolicy(twoOrganizations);
});
afterAll(() => policy.stop());
beforeEach(async () => {
  policy.signals.splice(0);
  await policy.database.pool.query('UPDATE policy.reservations SET ended_at = now() WHERE ended_at IS NULL');
  ({ token, sessionId } = await policy.open(writer));
});

const lease = async (credential = 'orders-db/read', ttl_seconds?: number, who = token) => {
  const answer = await policy.get(Decide).run({
    token: who,
    credential,
    ...(ttl_seconds === undefined ? {} : { ttl_seconds }),
    reply_key: policy.replyKey.publicJwk,
    source_ip: sourceIp,
  });
  if (answer.decision !== 'allow') throw new Error(JSON.stringify(answer));
  return answer.lease_id;
};
const renew = (leaseId: string, ttl_seconds?: number, who = token) =>
  policy.get(Renew).run({
    token: who,
    lease_id: leaseId,
    ...(ttl_seconds === undefined ? {} : { ttl_seconds }),
    reply_key: policy.replyKey.publicJwk,
    source_ip: sourceIp,
  });
const granted = async (leaseId: string, ttl?: number, who = token) => {
  const answer = await renew(leaseId, ttl, who);
  if (answer.decision !== 'extend') throw new Error(JSON.stringify(answer));
  const keys = await loadVerificationKeys(policy.keys.public.grant);
  const verifier = new TokenVerifier(tokenKinds.renewal, keys, { audience: 'mayfly-revocation' });
  return { ...answer, claims: await verifier.verify(answer.grant, { now: new Date() }) };
};
const codeOf = (attempt: Promise<unknown>) =>
  attempt.then(
    () => 'ok',
    (error: unknown) => (error instanceof MayflyError ? error.code : String(error)),
  );
const endOf = async (session: string) => {
  const { rows } = await policy.database.pool.query<{ expires_at: Date }>(
    'SELECT expires_at FROM policy.sessions WHERE id = $1',
    [session],
  );
  return rows[0]?.expires_at.toISOString();
};
const startedAgo = (leaseId: string, seconds: number) =>
  policy.database.pool.query(
    'UPDATE policy.renewable_leases SET started_at = now() - make_interval(secs => $2) WHERE lease_id = $1',
    [leaseId, seconds],
  );

describe('a renewal', () => {
  it('is permitted by a grant for this lease, session and end, and for nothing else', async () => {
    const leaseId = await lease('orders-db/read', 120);
    const { claims } = await granted(leaseId);
    expect(claims).toMatchObject({
      lease_id: leaseId,
      actor: { organization: 'acme', session_id: sessionId },
      asker: { session_id: sessionId },
      credential: 'orders-db/read',
      integration: 'orders-db',
      // As much again as it was granted with.
      ttl_seconds: 120,
      limit: 'ttl',
      max_life_seconds: 1200,
      max_count: 2,
    });
    expect(Date.parse(claims.expires_at) - Date.parse(claims.granted_at)).toBe(120_000);
  });

  it('counts against no limit of its own: the lease has its place', async () => {
    const leaseId = await lease();
    await granted(leaseId);
    await granted(leaseId);
    const other = await policy.get(Decide).run({
      token,
      credential: 'orders-db/read',
      reply_key: policy.replyKey.publicJwk,
      source_ip: sourceIp,
    });
    expect(other).toMatchObject({ decision: 'deny', code: 'limit_exceeded' });
  });

  it('is cut at the maximum life, and told', async () => {
    const leaseId = await lease();
    await startedAgo(leaseId, 1000);
    const { claims, ttl_adjusted } = await granted(leaseId, 900);
    expect(claims.limit).toBe('max_life');
    expect(claims.ttl_seconds).toBeLessThanOrEqual(200);
    expect(ttl_adjusted).toEqual({
      requested_seconds: 900,
      reason: 'it reaches its maximum life before',
    });
    await startedAgo(leaseId, 1200);
    expect(await renew(leaseId)).toMatchObject({ decision: 'deny', code: 'ttl_exceeded' });
  });

  it('is refused beyond the longest TTL, and when the lease has been renewed often enough', async () => {
    const leaseId = await lease();
    expect(await renew(leaseId, 901)).toMatchObject({ decision: 'deny', code: 'ttl_exceeded' });
    const told = (renewals: number) =>
      newEvent('revocation', 'credential.renewed', { lease_id: leaseId, renewals });
    await policy.get(LeaseRegister).record([told(1)]);
    await granted(leaseId);
    await policy.get(LeaseRegister).record([told(2), told(1)]);
    expect(await renew(leaseId)).toMatchObject({ decision: 'deny', code: 'policy_denied' });
    expect(policy.signals.map(({ data }) => data.lease_id)).toEqual([leaseId, leaseId]);
  });

  it('I5: of a lease of another agent or organization finds none', async () => {
    const leaseId = await lease();
    const { token: other } = await policy.open({ ...writer, run: '2' });
    expect(await codeOf(renew(leaseId, undefined, other))).toBe('not_found');
    const { token: foreigner } = await policy.open(globexAnalyst);
    expect(await codeOf(renew(leaseId, undefined, foreigner))).toBe('not_found');
    const { token: person } = await policy.open(personIn('admins'));
    expect(await codeOf(renew(leaseId, undefined, person))).toBe('unauthenticated');
  });

  it('may come from another session of the same agent, and stays within that of the lease', async () => {
    const leaseId = await lease();
    await policy.database.pool.query(
      `UPDATE policy.sessions SET expires_at = now() + interval '60 seconds' WHERE id = $1`,
      [sessionId],
    );
    const { token: other, sessionId: asking } = await policy.open(writer);
    const { claims } = await granted(leaseId, 300, other);
    expect(claims.actor.session_id).toBe(sessionId);
    // What ends or blocks the asking session stops the renewal too.
    expect(claims.asker).toEqual({ session_id: asking, user: claims.actor.user });
    expect(claims).toMatchObject({ limit: 'session' });
    expect(claims.ttl_seconds).toBeLessThanOrEqual(60);
    await policy.get(EndSession).run({ token, source_ip: sourceIp });
    expect(await codeOf(renew(leaseId, undefined, other))).toBe('lease_ended');
  });

  it('is refused once the lease or its session has ended', async () => {
    const leaseId = await lease();
    await policy
      .get(LeaseRegister)
      .record([newEvent('revocation', 'credential.revoked', { lease_id: leaseId })]);
    expect(await codeOf(renew(leaseId))).toBe('lease_ended');
    const another = await lease();
    await policy.get(EndSession).run({ token, source_ip: sourceIp });
    expect(await codeOf(renew(another))).toBe('unauthenticated');
  });

  it('is refused while an administrator blocks the agent', async () => {
    const leaseId = await lease();
    const { token: administrator } = await policy.open(personIn('admins'));
    const { block } = await policy.get(Blocks).add({
      token: administrator,
      subject: { kind: 'credential', id: 'orders-db/read' },
      reason: 'under investigation',
      revoke: false,
      source_ip: sourceIp,
    });
    expect(await renew(leaseId)).toMatchObject({ decision: 'deny', code: 'policy_denied' });
    await policy.get(Blocks).remove({ token: administrator, block_id: block.block_id, source_ip: sourceIp });
    expect(await renew(leaseId)).toMatchObject({ decision: 'extend' });
  });

  it('tells auditors which block it was, also one of the session that the lease was granted in', async () => {
    const leaseId = await lease();
    const { token: other } = await policy.open(writer);
    const { token: administrator } = await policy.open(personIn('admins'));
    const { block } = await policy.get(Blocks).add({
      token: administrator,
      subject: { kind: 'session', id: sessionId },
      reason: 'its host is lost',
      revoke: false,
      source_ip: sourceIp,
    });
    // A block of a session closes it: as it is when the closing has not been seen yet.
    await policy.database.pool.query('UPDATE policy.sessions SET ended_at = NULL WHERE id = $1', [sessionId]);
    policy.signals.splice(0);
    expect(await renew(leaseId, undefined, other)).toMatchObject({ decision: 'deny', code: 'policy_denied' });
    expect(JSON.stringify(policy.signals)).toContain(`block ${block.block_id} of session ${sessionId}`);
    await policy.get(Blocks).remove({ token: administrator, block_id: block.block_id, source_ip: sourceIp });
  });

  it('is refused for a credential that was not renewable at the mint', async () => {
    const { token: reader } = await policy.open(analyst);
    const leaseId = await lease('tool/read', undefined, reader);
    expect(await renew(leaseId, undefined, reader)).toMatchObject({
      decision: 'deny',
      code: 'policy_denied',
    });
  });

  it.each([
    [
      'a role that lost it',
      /roles: \[writer\]\n {4}scope: \{ privileges/,
      'roles: []\n    scope: { privileges',
      'policy_denied',
    ],
    [
      'bounds narrower than the lease',
      '{ privileges: [SELECT], schemas: [public] }',
      '{ privileges: [SELECT], schemas: [public], tables: [public.a] }',
      'scope_exceeded',
    ],
    ['renewal taken away', 'renewal: { max_life: 20m, max_count: 2 }', '', 'policy_denied'],
    [
      'approval needed by now',
      'renewal: { max_life: 20m, max_count: 2 }',
      'approval: required\n    renewal: { max_life: 20m, max_count: 2 }',
      'policy_denied',
    ],
    ['the credential gone', 'name: orders-db/read\n', 'name: orders-db/other\n', 'not_found'],
  ])('asks policy again: %s', async (_name, from, to, code) => {
    const leaseId = await lease();
    await granted(leaseId);
    const { token: administrator } = await policy.open(personIn('platform'));
    const document = policy.document.replace(from, to);
    expect(document).not.toBe(policy.document);
    const apply = (text: string) =>
      policy
        .get(ApplyConfig)
        .run({ token: administrator, document: text, end_leases: true, source_ip: sourceIp });
    expect(await apply(document)).toMatchObject({ outcome: 'applied' });
    try {
      expect(await renew(leaseId)).toMatchObject({ decision: 'deny', code });
    } finally {
      await apply(policy.document);
    }
  });
});

describe('a renewal by rotation', () => {
  const rotate = async (leaseId: string, ttl = 60) => {
    const answer = await renew(leaseId, ttl);
    if (answer.decision !== 'rotate') throw new Error(JSON.stringify(answer));
    return { ...answer, claims: await policy.readGrant(answer.grant) };
  };
  const tell = (
    type: 'credential.issued' | 'credential.renewed' | 'credential.expired' | 'credential.failed',
    lease_id: string,
    more = {},
  ) => policy.get(LeaseRegister).record([newEvent('revocation', type, { lease_id, ...more })]);

  /** Whether the one place of the session is taken. */
  const full = async () => {
    const { decision } = await policy.get(Decide).run({
      token,
      credential: 'tool/rotating',
      reply_key: policy.replyKey.publicJwk,
      source_ip: sourceIp,
    });
    return decision === 'deny';
  };
  /** As the register tells of a rotation. */
  const rotated = async (leaseId: string, successorId: string, endsAt: Date) => {
    await tell('credential.issued', successorId, { predecessor_id: leaseId, renewals: 1 });
    await tell('credential.renewed', leaseId, {
      successor_id: successorId,
      renewals: 1,
      expires_at: endsAt.toISOString(),
    });
  };

  it('is a grant for a lease that takes the place of the first', async () => {
    const leaseId = await lease('tool/rotating');
    const { claims, renewals, lease_id, give_back } = await rotate(leaseId);
    expect(claims).toMatchObject({
      jti: lease_id,
      ttl_seconds: 60,
      predecessor: { lease_id: leaseId, renewals: 1 },
      renewal: { kind: 'rotation', grace_seconds: 10 },
      actor: { session_id: sessionId },
    });
    expect(renewals).toBe(1);
    expect((await policy.readAssertion(give_back)).act).toMatchObject({ action: 'end_lease', lease_id });
  });

  it('I4: tells the register when the session ends, by the clock of Postgres', async () => {
    const { claims } = await rotate(await lease('tool/rotating'));
    expect(claims.session_expires_at).toBe(await endOf(sessionId));
  });

  it('has an id with the mark of its installation and integration, so that it is found upstream', async () => {
    const { lease_id } = await rotate(await lease('tool/rotating'));
    const { rows } = await policy.database.pool.query<{ id: string }>('SELECT id FROM policy.installation');
    expect(hasMark(lease_id, leaseMark(rows[0]?.id ?? '', 'acme', 'tool'))).toBe(true);
  });

  it('counts lease and successor as one, before, during and after the grace', async () => {
    const leaseId = await lease('tool/rotating');
    await tell('credential.issued', leaseId);
    const { lease_id } = await rotate(leaseId);
    expect(await full()).toBe(true);
    await tell('credential.issued', lease_id, { predecessor_id: leaseId, renewals: 1 });
    expect(await full()).toBe(true);
    await tell('credential.expired', leaseId);
    expect(await full()).toBe(true);
    await tell('credential.expired', lease_id);
    expect(await full()).toBe(false);
  });

  it('keeps its place when the successor is given back first: the old lease still works', async () => {
    const leaseId = await lease('tool/rotating');
    await tell('credential.issued', leaseId);
    const { lease_id } = await rotate(leaseId);
    await tell('credential.issued', lease_id, { predecessor_id: leaseId, renewals: 1 });
    await tell('credential.expired', lease_id);
    expect(await full()).toBe(true);
    await tell('credential.expired', leaseId);
    expect(await full()).toBe(false);
  });

  it('keeps its place when the old lease ends while its successor is being minted', async () => {
    const leaseId = await lease('tool/rotating');
    await tell('credential.issued', leaseId);
    const { lease_id } = await rotate(leaseId);
    await tell('credential.expired', leaseId);
    expect(await full()).toBe(true);
    await tell('credential.failed', lease_id);
    expect(await full()).toBe(false);
  });

  it('is refused while the predecessor of the lease itself lives, and says when to ask again', async () => {
    const first = await lease('tool/rotating');
    await tell('credential.issued', first);
    const { lease_id: second } = await rotate(first);
    const refusal = async () => {
      const error: unknown = await renew(second, 60).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      if (!(error instanceof MayflyError)) throw new Error('it was granted');
      return [error.code, error.reason];
    };
    const sentence = (when: string) => [
      'conflict',
      `The lease that this one took the place of is still alive. Renew again ${when}, or give that one back first.`,
    ];
    // Before any event tells more than the configuration does.
    expect(await refusal()).toEqual(sentence('in at most 10 seconds, when it has ended'));
    await rotated(first, second, new Date(Date.now() + 7_500));
    const [code, reason] = await refusal();
    expect(code).toBe('conflict');
    expect(reason).toMatch(/ Renew again in [78] seconds, when it has ended, or /);
    await rotated(first, second, new Date(Date.now() - 1_000));
    expect(await refusal()).toEqual(sentence('as soon as it has ended'));
    await tell('credential.expired', first);
    expect((await rotate(second)).renewals).toBe(2);
  });

  it('is refused for a lease that a repeat of its Idempotency-Key has replaced', async () => {
    const ask = () =>
      policy.get(Decide).run({
        token,
        credential: 'tool/rotating',
        idempotency: { key: 'k', body_sha256: 'a'.repeat(64) },
        reply_key: policy.replyKey.publicJwk,
        source_ip: sourceIp,
      });
    const first = await ask();
    if (first.decision !== 'allow') throw new Error('not allowed');
    await tell('credential.issued', first.lease_id);
    expect(await ask()).toMatchObject({ decision: 'allow', supersedes: { lease_id: first.lease_id } });
    expect(await codeOf(renew(first.lease_id))).toBe('lease_ended');
  });

  it('is refused for a lease of which nothing was heard in time: its place may be taken', async () => {
    const leaseId = await lease('tool/rotating');
    await policy.database.pool.query(
      `UPDATE policy.reservations SET held_until = now() - interval '1 second' WHERE lease_id = $1`,
      [leaseId],
    );
    expect(await codeOf(renew(leaseId))).toBe('conflict');
    await tell('credential.issued', leaseId);
    await rotate(leaseId);
  });

  it('gives a lease one successor, and another only when that one came to nothing', async () => {
    const leaseId = await lease('tool/rotating');
    const first = await rotate(leaseId);
    expect(await codeOf(renew(leaseId))).toBe('conflict');
    await tell('credential.failed', first.lease_id);
    const second = await rotate(leaseId);
    expect(second.claims.predecessor?.renewals).toBe(1);
    await tell('credential.issued', second.lease_id, { predecessor_id: leaseId, renewals: 1 });
    expect(await codeOf(renew(leaseId))).toBe('conflict');
    await tell('credential.expired', leaseId);
    // The chain goes on from the successor, and counts from its beginning.
    const third = await rotate(second.lease_id);
    expect(third.renewals).toBe(2);
    await tell('credential.issued', third.lease_id, { predecessor_id: second.lease_id, renewals: 2 });
    await tell('credential.expired', second.lease_id);
    expect(await renew(third.lease_id)).toMatchObject({ decision: 'deny', code: 'policy_denied' });
  });

  it('never goes past the maximum life from the decision on the first lease, however often it is rotated', async () => {
    const first = await lease('tool/rotating');
    await startedAgo(first, 1_100);
    const { rows } = await policy.database.pool.query<{ ends: Date }>(
      `SELECT started_at + interval '20 minutes' AS ends FROM policy.renewable_leases WHERE lease_id = $1`,
      [first],
    );
    const end = rows[0]?.ends.getTime() ?? 0;
    let last = first;
    for (const renewals of [1, 2]) {
      const { lease_id, claims, ttl_adjusted } = await rotate(last, 300);
      expect(ttl_adjusted).toMatchObject({ reason: 'it reaches its maximum life before' });
      expect(Date.parse(claims.granted_at) + claims.ttl_seconds * 1000).toBeLessThanOrEqual(end);
      await tell('credential.issued', lease_id, { predecessor_id: last, renewals });
      await tell('credential.expired', last);
      last = lease_id;
    }
    // More would be allowed by number, nothing by time.
    await policy.database.pool.query('UPDATE policy.renewable_leases SET renewals = 0 WHERE lease_id = $1', [
      last,
    ]);
    await startedAgo(last, 1_200);
    expect(await renew(last, 300)).toMatchObject({ decision: 'deny', code: 'ttl_exceeded' });
  });

  it('is for the session that holds the lease, because the new secret is sealed to its key', async () => {
    const leaseId = await lease('tool/rotating');
    const { token: other } = await policy.open(writer);
    expect(await codeOf(renew(leaseId, undefined, other))).toBe('conflict');
  });
});
