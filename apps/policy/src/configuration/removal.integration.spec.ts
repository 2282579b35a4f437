import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { MayflyError } from '@mayfly/contracts';
import { hasMark } from '@mayfly/domain';
import { loadVerificationKeys, tokenKinds, TokenVerifier } from '@mayfly/tokens';
import { Decide } from '../decisions/decide.ts';
import { Renew } from '../decisions/renew.ts';
import { runPolicy, sourceIp, type RunningPolicy } from '../spec-support/running-policy.ts';
import { analyst, globexAnalyst, personIn, twoOrganizations } from '../spec-support/two-organizations.ts';
import { ApplyConfig } from './apply-config.ts';
import { OrderSweeps } from './order-sweeps.ts';

describe('a document that removes a credential with live leases', () => {
  let policy: RunningPolicy;

  // Nobody answers on the bus: whatever is ordered is ordered by events alone.
  beforeEach(async () => {
    policy = await runPolicy(twoOrganizations);
  });
  afterEach(() => policy.stop());

  const decide = async (claims: Record<string, unknown> = analyst, credential = 'tool/read') => {
    const { token } = await policy.open(claims);
    return policy.get(Decide).run({
      token,
      credential,
      reply_key: policy.replyKey.publicJwk,
      source_ip: sourceIp,
    });
  };
  const hold = async (...asked: Parameters<typeof decide>) => {
    const answer = await decide(...asked);
    if (answer.decision !== 'allow') throw new Error('not allowed');
    return answer.lease_id;
  };
  const withoutRead = () => policy.document.replaceAll('tool/read', 'tool/look');
  const apply = async (endLeases: boolean, document = withoutRead(), expectedVersion?: number) => {
    const { token } = await policy.open(personIn('platform'));
    return policy.get(ApplyConfig).run({
      token,
      document,
      end_leases: endLeases,
      source_ip: sourceIp,
      ...(expectedVersion === undefined ? {} : { expected_version: expectedVersion }),
    });
  };
  const ordered = async () =>
    (await policy.outbox()).filter(({ type }) => type === 'dev.mayfly.config.removed.v1');
  /** As another replica would: this one does not poll, so it learns of it only when it looks. */
  const storeElsewhere = (version: number, document: string) =>
    policy.database.pool.query(
      `INSERT INTO policy.config_versions VALUES ($1, $2, encode(sha256($2::text::bytea), 'hex'), now(), 'elsewhere')`,
      [version, document],
    );
  const read = { organization: 'acme', subject: { kind: 'credential', id: 'tool/read' } };

  it('is refused, with how many there are; the running one stays and no end is ordered', async () => {
    await hold();
    await hold();
    await expect(apply(false)).rejects.toMatchObject({
      code: 'conflict',
      reason: expect.stringMatching(/^2 live leases .* acme: tool\/read \(2\)/) as unknown,
    });
    expect(await ordered()).toEqual([]);
    await hold();
  });

  it('that is refused for its version orders no end, though it was told to', async () => {
    await hold();
    await expect(apply(true, withoutRead(), 7)).rejects.toMatchObject({ code: 'conflict' });
    expect(await ordered()).toEqual([]);
    await hold();
  });

  it('orders their end with it when told to, and says under which id', async () => {
    await hold();
    const answer = await apply(true);
    expect(answer).toMatchObject({
      outcome: 'applied',
      version: 2,
      revocations: [read],
      revocations_total: 1,
    });
    const [event, ...more] = await ordered();
    expect(more).toEqual([]);
    expect(event?.data).toMatchObject({
      organization: 'acme',
      agent_id: 'spiffe://acme.example/person/ann.at.acme.example',
      session_id: expect.any(String) as unknown,
      reason: 'removed from the configuration',
      config_version: 2,
      action_context: { subject: read.subject },
      revocation_id: answer.outcome === 'applied' && answer.revocations[0]?.revocation_id,
    });
    expect(await decide()).toMatchObject({ decision: 'deny' });
  });

  it('orders an end also when it knows of no lease, and none when nothing is removed', async () => {
    expect(await apply(false)).toMatchObject({ version: 2, revocations: [read] });
    expect(await apply(false)).toMatchObject({ unchanged: true, revocations: [], revocations_total: 0 });
    expect(await apply(true, `${withoutRead()}# changed\n`)).toMatchObject({ version: 3, revocations: [] });
    expect(await ordered()).toHaveLength(1);
  });

  it('orders the end of a whole integration once, in its own organization', async () => {
    await hold(globexAnalyst, 'plans/read');
    const document = policy.document
      .replace(/ {2}- \{ name: plans,.*\n/, '')
      .replace(/ {2}- name: plans\/read[^]*$/, '');
    await expect(apply(false, document)).rejects.toMatchObject({ code: 'conflict' });
    const plans = { organization: 'globex', subject: { kind: 'integration', id: 'plans' } };
    expect(await apply(true, document)).toMatchObject({ revocations: [plans], revocations_total: 1 });
    const [event] = await ordered();
    expect(event?.data).toMatchObject({ organization: 'globex', action_context: { subject: plans.subject } });
  });

  it('is compared with the newest version, which another replica has stored', async () => {
    const held = await hold();
    await storeElsewhere(2, policy.document.replaceAll('tool/read', 'tool/new'));
    // Granted there.
    await policy.database.pool.query(
      `UPDATE policy.reservations SET credential = 'tool/new' WHERE lease_id = $1`,
      [held],
    );
    await expect(apply(false)).rejects.toMatchObject({
      reason: expect.stringContaining('acme: tool/new (1)') as unknown,
    });
    expect(await apply(true)).toMatchObject({
      version: 3,
      revocations: [{ subject: { kind: 'credential', id: 'tool/new' } }],
    });
  });

  it('is compared with what lives when the newest version can not be read', async () => {
    await hold();
    const { token } = await policy.open(personIn('platform'));
    await storeElsewhere(2, 'from: a later release');
    const run = (end_leases: boolean) =>
      policy.get(ApplyConfig).run({ token, document: withoutRead(), end_leases, source_ip: sourceIp });
    await expect(run(false)).rejects.toMatchObject({
      reason: expect.stringContaining('acme: tool/read (1)') as unknown,
    });
    expect(await run(true)).toMatchObject({ version: 3, revocations: [read] });
  });

  it('sees every lease that is being granted at that moment', async () => {
    const { sessionId } = await policy.open(analyst);
    const granting = await policy.database.pool.connect();
    try {
      await granting.query('BEGIN');
      await granting.query(
        `SELECT policy.reserve_lease($1, $2, 'acme', 'tool/read', NULL, NULL, 30, 90, NULL, NULL, 1, NULL, NULL, NULL)`,
        [randomUUID(), sessionId],
      );
      const applied = apply(false).then(
        () => 'applied',
        (error: unknown) => (error as MayflyError).reason,
      );
      let isAnswered = false;
      void applied.finally(() => {
        isAnswered = true;
      });
      for (let waits = false; !waits && !isAnswered;) {
        const { rowCount } = await policy.database.pool.query(
          `SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
        );
        waits = rowCount === 1;
      }
      await granting.query('COMMIT');
      expect(await applied).toMatch(/^1 live lease /);
    } finally {
      granting.release();
    }
  });

  it('counts a lease that has a successor for as long as it may work', async () => {
    const leaseId = await hold();
    await policy.database.pool.query(
      'UPDATE policy.reservations SET issued_at = now(), held_until = now() WHERE lease_id = $1',
      [leaseId],
    );
    await expect(apply(false)).rejects.toMatchObject({ code: 'conflict' });
  });

  describe('stored by another replica', () => {
    it('is taken up by the next decision, which is made again by it', async () => {
      await storeElsewhere(2, withoutRead());
      expect(await decide()).toMatchObject({ decision: 'deny' });
      expect(policy.signals.at(-1)?.data.config_version).toBe(2);
      const { rows } = await policy.database.pool.query('SELECT FROM policy.reservations');
      expect(rows).toEqual([]);
      const { grant } = (await decide(analyst, 'tool/look')) as { grant: string };
      expect(await policy.readGrant(grant)).toMatchObject({ config_version: 2 });
    });

    it('is taken up by the next renewal, which is decided again by it', async () => {
      const writer = { ...analyst, role: 'writer' };
      const { token } = await policy.open(writer);
      const held = await policy.get(Decide).run({
        token,
        credential: 'orders-db/read',
        reply_key: policy.replyKey.publicJwk,
        source_ip: sourceIp,
      });
      if (held.decision !== 'allow') throw new Error('not allowed');
      await storeElsewhere(2, policy.document.replaceAll('orders-db/read', 'orders-db/look'));
      const renewed = policy.get(Renew).run({
        token,
        lease_id: held.lease_id,
        reply_key: policy.replyKey.publicJwk,
        source_ip: sourceIp,
      });
      expect(await renewed).toMatchObject({ decision: 'deny' });
      expect(policy.signals.at(-1)?.data.config_version).toBe(2);
    });

    it('lets nothing be decided while it can not be read', async () => {
      await storeElsewhere(2, 'from: a later release');
      await expect(decide()).rejects.toMatchObject({ code: 'dependency_unavailable' });
    });
  });

  it('lease ids bear the mark by which what was made is listed, by an order that policy signed', async () => {
    const leaseId = await hold();
    const { sweeps } = await policy.get(OrderSweeps).run({});
    const own = sweeps.filter(({ mark }) => hasMark(leaseId, mark));
    expect(own).toMatchObject([{ organization: 'acme', integration: 'tool', provider: 'jwt' }]);
    const pinned = await loadVerificationKeys(policy.keys.public.grant);
    const claims = await new TokenVerifier(tokenKinds.sweepOrder, pinned).verify(own[0]?.order ?? '', {
      now: new Date(),
    });
    expect(claims).toMatchObject({ organization: 'acme', mark: own[0]?.mark });
    // Page by page, none twice.
    const last = sweeps.at(-1);
    const rest = await policy.get(OrderSweeps).run({ after: `${last?.organization}/${last?.integration}` });
    expect(rest.sweeps).toEqual([]);
  });
});
