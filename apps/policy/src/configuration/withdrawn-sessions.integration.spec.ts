import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { bus, MayflyError, type InputOf } from '@mayfly/contracts';
import type { BusClient } from '@mayfly/messaging';
import { inTransaction } from '@mayfly/postgres';
import { AdministerSessions } from '../sessions/administer-sessions.ts';
import { Decide } from '../decisions/decide.ts';
import { SessionGate } from '../sessions/session-gate.ts';
import { runPolicy, sourceIp, type RunningPolicy } from '../spec-support/running-policy.ts';
import { analyst, globexAnalyst, personIn, twoOrganizations } from '../spec-support/two-organizations.ts';
import { lockConfigVersions, storeConfigVersion } from '../store/config-versions.ts';
import { ExchangeToken } from '../trust/exchange-token.ts';
import { ApplyConfig } from './apply-config.ts';
import { GetConfig } from './get-config.ts';

const platform = { ...personIn('platform'), email: 'pat@acme.example' };
const outcome = (attempt: Promise<unknown>) =>
  attempt.then(
    () => 'ok',
    (error: unknown) => (error instanceof MayflyError ? error.code : String(error)),
  );

describe('authority outlives its ground', () => {
  let policy: RunningPolicy;
  /** What revocation was asked to end. */
  let asked: string[];

  beforeEach(async () => {
    asked = [];
    const client = {
      call: (operation: { name: string }, input: { assertion: string }) => {
        asked.push(operation.name);
        return Promise.resolve(input.assertion === '' ? undefined : { matched: 0 });
      },
    } as unknown as BusClient;
    policy = await runPolicy(twoOrganizations, { client });
  });
  afterEach(() => policy.stop());

  const apply = async (document: string, token?: string, more: { lock_me_out?: true } = {}) =>
    policy.get(ApplyConfig).run({
      token: token ?? (await policy.open(platform)).token,
      document,
      end_leases: true,
      source_ip: sourceIp,
      ...more,
    });
  const decide = (token: string, credential = 'tool/read') =>
    policy.get(Decide).run({ token, credential, reply_key: policy.replyKey.publicJwk, source_ip: sourceIp });
  const isLive = (token: string) => outcome(policy.get(SessionGate).liveSession(token));
  const without = (text: string | RegExp, by = '') => {
    const changed = policy.document.replace(text, by);
    expect(changed).not.toBe(policy.document);
    return changed;
  };
  const closed = async () =>
    (await policy.outbox()).filter(({ type }) => type === 'dev.mayfly.session.closed.v1');

  it('a removed platform administrator neither reads, nor applies what would let it in again, nor opens a session', async () => {
    const attacker = await policy.open({ ...personIn('owners', 'platform'), email: 'eve@acme.example' });
    const rescuer = await policy.open(personIn('admins', 'other'));
    const running = policy.document;
    const answer = await apply(
      without(', platform: platform_administrator', ', root: platform_administrator'),
      undefined,
      { lock_me_out: true },
    );
    expect(answer).toMatchObject({ outcome: 'applied', sessions_ended: 2 });
    expect(await outcome(policy.get(GetConfig).run({ token: attacker.token, source_ip: sourceIp }))).toBe(
      'unauthenticated',
    );
    expect(await outcome(apply(running, attacker.token))).toBe('unauthenticated');
    expect(await isLive(rescuer.token)).toBe('ok');
    const again = await policy.open({ ...personIn('owners', 'platform'), email: 'eve@acme.example' });
    expect(await outcome(apply(running, again.token))).toBe('policy_denied');
    const events = await closed();
    expect(events.map(({ data }) => [data.user, data.outcome, data.reason])).toEqual(
      expect.arrayContaining([['eve@acme.example', 'withdrawn', 'its trust rule no longer gives its role']]),
    );
  });

  it('a session ends with its role, its rule and its trust domain, in the transaction of the document', async () => {
    const agent = await policy.open(analyst);
    const other = await policy.open(globexAnalyst);
    await decide(agent.token);
    const document = without(/allowed: \[analyst, writer\]/, 'allowed: [writer]').replace(
      /( {2}- name: tool\/(?:read|limited)[^-]*?)roles: \[analyst\]/g,
      '$1roles: [writer]',
    );
    expect(await apply(document)).toMatchObject({ sessions_ended: 1 });
    expect(await outcome(decide(agent.token))).toBe('unauthenticated');
    expect(await isLive(other.token)).toBe('ok');
    expect(asked).toEqual([bus.revocation.endSession.name]);
    expect((await closed()).map(({ data }) => data.session_id)).toEqual([agent.sessionId]);
  });

  it('a session without a key of its own ends when its rule asks for one, and no other', async () => {
    const [bare, keyed] = [await policy.open(analyst), await policy.open(analyst, policy.replyKey)];
    const document = without('as: agent\n', 'as: agent\n    require_recipient_key: true\n');
    expect(await apply(document)).toMatchObject({ sessions_ended: 1 });
    expect([await isLive(bare.token), await isLive(keyed.token)]).toEqual(['unauthenticated', 'ok']);
  });

  it('a refused document ends nothing', async () => {
    const { token } = await policy.open(analyst);
    await decide(token);
    const refused = policy.get(ApplyConfig).run({
      token: (await policy.open(platform)).token,
      document: without('  - name: agents\n', '  - name: agents-2\n').replaceAll('tool/read', 'tool/look'),
      end_leases: false,
      source_ip: sourceIp,
    });
    expect(await outcome(refused)).toBe('conflict');
    expect(await isLive(token)).toBe('ok');
    expect(await closed()).toEqual([]);
  });

  it('no session is opened by a configuration that is no longer the newest', async () => {
    // Stored as by another replica; this one does not poll.
    const document = without('org: acme, kind: agent', 'org: acme, kind: nobody');
    await inTransaction(policy.database.pool, async (client) => {
      await lockConfigVersions(client);
      const organizations = ['acme', 'globex'].map((name) => ({ name, trustDomain: `${name}.example` }));
      await storeConfigVersion(client, { document, organizations, appliedBy: 'elsewhere' });
    });
    expect(await outcome(policy.open(analyst))).toBe('unauthenticated');
    await policy.open(globexAnalyst);
  });

  it('a session that a version kept without admitting it ends with the next that ends any', async () => {
    const { token } = await policy.open(analyst);
    await inTransaction(policy.database.pool, async (client) => {
      await lockConfigVersions(client);
      const organizations = ['acme', 'globex'].map((name) => ({ name, trustDomain: `${name}.example` }));
      const narrowed = without(
        'require: { org: acme, kind: agent }',
        'require: { org: acme, kind: agent, env: prod }',
      );
      await storeConfigVersion(client, {
        document: narrowed,
        organizations,
        appliedBy: 'somebody at the machine',
        keepsSessions: true,
      });
    });
    expect(await isLive(token)).toBe('ok');
    const next = without(
      'require: { org: acme, kind: agent }',
      'require: { org: acme, kind: agent, env: prod } # 2',
    );
    expect(await apply(next)).toMatchObject({ outcome: 'applied', sessions_ended: 1 });
    expect(await isLive(token)).toBe('unauthenticated');
  });

  it('each session is judged by what admitted it when this release can not read what ran since', async () => {
    const { token } = await policy.open(platform);
    const [goes, stays] = [await policy.open(analyst), await policy.open(globexAnalyst)];
    const store = (version: number, document: string) =>
      policy.database.pool.query(
        `INSERT INTO policy.config_versions (version, document, sha256, applied_at, applied_by)
         VALUES ($1, $2, $1::integer::text, now(), 'somebody')`,
        [version, document],
      );
    await store(2, 'from: a later release');
    const document = without('require: { org: acme, kind: agent }', 'require: { org: acme, kind: bot }');
    const asked = { token, document, end_leases: true, source_ip: sourceIp };
    expect(await policy.get(ApplyConfig).run({ ...asked, dry_run: true })).toMatchObject({
      ending_sessions: 1,
    });
    expect(await apply(document, token)).toMatchObject({ outcome: 'applied', sessions_ended: 1 });
    expect(await isLive(goes.token)).toBe('unauthenticated');
    expect(await isLive(stays.token)).toBe('ok');

    // Of one that the unreadable version itself has admitted, or nobody knows which, nobody can tell what admitted it.
    await store(4, 'from: a later release, too');
    const others = [await insertedBy(4, stays.sessionId), await insertedBy(null, stays.sessionId)];
    expect(await apply(`${document}# next\n`, token)).toMatchObject({ sessions_ended: 2 });
    const { rows } = await policy.database.pool.query(
      "SELECT FROM policy.sessions WHERE id = ANY ($1) AND end_reason = 'withdrawn'",
      [others],
    );
    expect(rows).toHaveLength(2);
    expect(await isLive(stays.token)).toBe('ok');
  });

  /** Another session like this one, of another version. */
  async function insertedBy(version: number | null, like: string): Promise<string> {
    const id = randomUUID();
    await policy.database.pool.query(
      `INSERT INTO policy.sessions SELECT (jsonb_populate_record(s, jsonb_build_object('id', $1::uuid, 'config_version', $2::integer))).*
       FROM policy.sessions s WHERE s.id = $3`,
      [id, version, like],
    );
    return id;
  }

  it('ends sessions while decisions hold their rows, without a deadlock', async () => {
    const agents = await Promise.all(
      Array.from({ length: 8 }, (_, run) => policy.open({ ...analyst, run: `r${run}` })),
    );
    const { token } = await policy.open(platform);
    const decisions = agents.flatMap((agent) =>
      Array.from({ length: 6 }, () => outcome(decide(agent.token, 'tool/limited'))),
    );
    const answer = await apply(
      without('require: { org: acme, kind: agent }', 'require: { org: acme, kind: x }'),
      token,
    );
    expect(answer).toMatchObject({ sessions_ended: 8 });
    for (const done of await Promise.all(decisions)) expect(['ok', 'unauthenticated']).toContain(done);
    for (const agent of agents) expect(await isLive(agent.token)).toBe('unauthenticated');
  });

  describe('the name of an organization that is given to another', () => {
    const renamed = (document: string) =>
      document
        .replace('name: globex, trust_domain: globex.example', 'name: initech, trust_domain: globex.example')
        .replaceAll('organization: globex', 'organization: initech');
    const organizationOf = async (session: string) =>
      (
        await policy.database.pool.query<{ organization: string }>(
          'SELECT organization FROM policy.sessions WHERE id = $1',
          [session],
        )
      ).rows[0]?.organization;

    it('gives nothing away: its sessions end, and who comes is another organization', async () => {
      const old = await policy.open(globexAnalyst);
      expect(await organizationOf(old.sessionId)).toBe('globex');
      const granted = await decide(old.token, 'plans/read');
      if (granted.decision !== 'allow') throw new Error('not allowed');
      expect(await policy.readGrant(granted.grant)).toMatchObject({ actor: { organization: 'globex' } });

      expect(await apply(renamed(policy.document))).toMatchObject({ outcome: 'applied' });
      expect(await isLive(old.token)).toBe('unauthenticated');
      expect(await organizationOf((await policy.open(globexAnalyst)).sessionId)).toBe('initech');

      expect(await apply(policy.document)).toMatchObject({ outcome: 'applied' });
      const fresh = await policy.open(globexAnalyst);
      expect(await organizationOf(fresh.sessionId)).toBe('globex.2');
      const again = await decide(fresh.token, 'plans/read');
      if (again.decision !== 'allow') throw new Error('not allowed');
      expect(await policy.readGrant(again.grant)).toMatchObject({ actor: { organization: 'globex.2' } });
      expect(await isLive(old.token)).toBe('unauthenticated');
    });

    it('in one document, by another trust domain, is another organization too', async () => {
      const old = await policy.open(globexAnalyst);
      const answer = await apply(without('trust_domain: globex.example', 'trust_domain: initech.example'));
      expect(answer).toMatchObject({
        sessions_ended: 1,
        revocations: [{ organization: 'globex', subject: { kind: 'integration', id: 'plans' } }],
      });
      expect(await isLive(old.token)).toBe('unauthenticated');
      expect(await organizationOf((await policy.open(globexAnalyst)).sessionId)).toBe('globex.2');
    });

    it('is told apart in documents that an earlier release applied', async () => {
      const store = (version: number, document: string) =>
        policy.database.pool.query(
          `INSERT INTO policy.config_versions (version, document, sha256, applied_at, applied_by)
           VALUES ($1, $2, encode(sha256($2::text::bytea), 'hex'), now(), 'elsewhere')`,
          [version, document],
        );
      await store(2, renamed(policy.document));
      await store(3, policy.document);
      // Whoever opens finds out that there is a newer version, and looks.
      expect(await organizationOf((await policy.open(globexAnalyst)).sessionId)).toBe('globex.2');
      expect(await organizationOf((await policy.open(analyst)).sessionId)).toBe('acme');
    });
  });
});

describe('an administrator', () => {
  let policy: RunningPolicy;
  beforeEach(async () => {
    policy = await runPolicy(twoOrganizations);
  });
  afterEach(() => policy.stop());

  const boss = { ...personIn('admins'), email: 'boss@acme.example' };
  const close = (token: string, session_id: string) =>
    policy
      .get(AdministerSessions)
      .close(
        bus.policy.closeSession.input.parse({ token, session_id, reason: 'left us', source_ip: sourceIp }),
      );
  const list = (token: string, filters: Partial<InputOf<typeof bus.policy.listSessions>> = {}) =>
    policy
      .get(AdministerSessions)
      .list(bus.policy.listSessions.input.parse({ token, source_ip: sourceIp, ...filters }));

  it('ends any session of the organization, a person’s too, and it is told who did and why', async () => {
    const { token } = await policy.open(boss);
    const person = await policy.open(personIn('admins'));
    const agent = await policy.open(analyst);
    for (const [one, user] of [
      [person, 'ann@acme.example'],
      [agent, 'ann@acme.example'],
    ] as const) {
      // In whatever case the id was copied.
      const answer = await close(token, one.sessionId.toUpperCase());
      expect(answer).toMatchObject({ session_id: one.sessionId, closed: true });
      expect(await policy.readAssertion(answer.assertion)).toMatchObject({
        person_roles: ['administrator'],
        act: { action: 'end_session', session_id: one.sessionId },
      });
      expect(await outcome(policy.get(SessionGate).liveSession(one.token))).toBe('unauthenticated');
      const told = (await policy.outbox()).filter(
        ({ type, data }) => type === 'dev.mayfly.session.closed.v1' && data.session_id === one.sessionId,
      );
      expect(told).toMatchObject([
        {
          data: {
            user,
            reason: 'left us',
            outcome: 'dismissed',
            action_context: { closed_by: 'spiffe://acme.example/person/boss.at.acme.example' },
          },
        },
      ]);
      expect(await close(token, one.sessionId)).toMatchObject({ closed: false });
    }
  });

  it('reaches no session of another organization, and nobody else ends one', async () => {
    const { token } = await policy.open(boss);
    const globex = await policy.open(globexAnalyst);
    const agent = await policy.open(analyst);
    expect(await outcome(close(token, globex.sessionId))).toBe('not_found');
    for (const group of ['auditors', 'platform']) {
      const other = await policy.open({ ...personIn(group), email: `${group}@acme.example` });
      expect(await outcome(close(other.token, agent.sessionId))).toBe('policy_denied');
      expect(await outcome(list(other.token))).toBe('policy_denied');
    }
    expect(await outcome(close(agent.token, globex.sessionId))).toBe('policy_denied');
    expect(await outcome(policy.get(SessionGate).liveSession(globex.token))).toBe('ok');
  });

  it('sees the live sessions of the organization, page by page, and of a user in whatever case', async () => {
    const { token, sessionId } = await policy.open(boss);
    const opened: string[] = [sessionId];
    for (let run = 0; run < 4; run++)
      opened.push((await policy.open({ ...analyst, run: `r${run}` })).sessionId);
    await policy.open(globexAnalyst);
    const first = await list(token, { limit: 3 });
    const second = await list(token, { limit: 3, after: first.next });
    const seen = [...first.sessions, ...second.sessions].map(({ session_id }) => session_id);
    expect(seen).toEqual(opened.toSorted().reverse());
    expect(await list(token, { kind: 'person' })).toMatchObject({
      sessions: [{ session_id: sessionId, person_roles: ['administrator'], trust_rule: 'people' }],
    });
    expect((await list(token, { user: 'ANN@acme.example' })).sessions).toHaveLength(4);
    expect((await list(token, { user: 'nobody' })).sessions).toEqual([]);
  });
});

describe('an identity token', () => {
  let policy: RunningPolicy;
  beforeEach(async () => {
    const limited = twoOrganizations.replace(
      'session_ttl: 30m',
      'session_ttl: 30m\n    max_sessions_per_identity: 3\n    max_identity_age: 10m',
    );
    policy = await runPolicy(limited);
  });
  afterEach(() => policy.stop());

  const exchange = async (identity: string) =>
    policy.get(ExchangeToken).run({
      subject_token: await policy.seal(identity),
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      reply_key: policy.replyKey.publicJwk,
      source_ip: sourceIp,
    });

  it('opens as many sessions as its rule says, also at once and whatever has ended meanwhile', async () => {
    const identity = await policy.identity(analyst);
    const attempts = await Promise.all(Array.from({ length: 8 }, () => outcome(exchange(identity))));
    expect(attempts.toSorted()).toEqual([...Array<string>(5).fill('limit_exceeded'), 'ok', 'ok', 'ok']);
    await policy.database.pool.query(`UPDATE policy.sessions SET ended_at = now(), end_reason = 'closed'`);
    expect(await outcome(exchange(identity))).toBe('limit_exceeded');
    expect(policy.signals.at(-1)?.data).toMatchObject({ organization: 'acme', outcome: 'limit_exceeded' });
    // Another token of the same agent is another one.
    expect(await outcome(exchange(await policy.identity({ ...analyst, jti: 'next' })))).toBe('ok');
  });

  it('is refused when it was issued longer ago than its rule allows, however long it is valid', async () => {
    const ago = (minutes: number) =>
      policy.identity(analyst, { issuedAt: Math.floor(Date.now() / 1000) - minutes * 60, validFor: '10y' });
    expect(await outcome(exchange(await ago(9)))).toBe('ok');
    expect(await outcome(exchange(await ago(12)))).toBe('unauthenticated');
    // Without a rule of its own: an hour.
    const globex = (minutes: number) =>
      policy.identity(globexAnalyst, {
        issuedAt: Math.floor(Date.now() / 1000) - minutes * 60,
        validFor: '10y',
      });
    expect(await outcome(exchange(await globex(59)))).toBe('ok');
    expect(await outcome(exchange(await globex(62)))).toBe('unauthenticated');
  });
});
