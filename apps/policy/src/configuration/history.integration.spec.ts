/** Versions of the document: kept, told, and tried before they are applied. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { bus, MayflyError } from '@mayfly/contracts';
import { Decide } from '../decisions/decide.ts';
import { runPolicy, sourceIp, type RunningPolicy } from '../spec-support/running-policy.ts';
import { analyst, globexAnalyst, personIn, twoOrganizations } from '../spec-support/two-organizations.ts';
import { ApplyConfig } from './apply-config.ts';
import { GetConfig } from './get-config.ts';
import { ListConfigVersions } from './list-config-versions.ts';

let policy: RunningPolicy;
let token: string;
beforeEach(async () => {
  policy = await runPolicy(twoOrganizations);
  ({ token } = await policy.open(personIn('platform')));
});
afterEach(() => policy.stop());

const apply = (document: string, options: { dry_run?: boolean; expected_version?: number } = {}) =>
  policy.get(ApplyConfig).run({ token, document, end_leases: false, source_ip: sourceIp, ...options });
const list = (page: { before?: number; limit?: number } = {}) =>
  policy.get(ListConfigVersions).run({ token, limit: 20, source_ip: sourceIp, ...page });
const get = (version?: number) =>
  policy.get(GetConfig).run({ token, source_ip: sourceIp, ...(version === undefined ? {} : { version }) });

describe('the history of the document', () => {
  it('tells who applied which version, when and from where, and which is an earlier one again', async () => {
    await apply(policy.document.replace('roles: [analyst]', 'roles: [writer]'));
    await apply(policy.document);
    const { versions } = await list();
    expect(versions).toMatchObject([
      {
        version: 3,
        applied_by: 'spiffe://acme.example/person/ann.at.acme.example',
        applied_from: sourceIp,
        same_as: 1,
      },
      { version: 2, applied_from: sourceIp },
      { version: 1, applied_by: 'bootstrap', applied_from: expect.stringContaining('mayfly.yaml') },
    ]);
    expect(versions[0]?.sha256).toBe(versions[2]?.sha256);
    expect(Date.parse(versions[0]?.applied_at ?? '')).toBeGreaterThan(Date.now() - 60_000);
  });

  it('comes page by page, to the first version', async () => {
    for (let n = 0; n < 4; n++) await apply(`${policy.document}# ${n}\n`);
    const seen: number[] = [];
    let before: number | undefined;
    do {
      const page = await list({ limit: 2, ...(before === undefined ? {} : { before }) });
      seen.push(...page.versions.map(({ version }) => version));
      before = page.next;
    } while (before !== undefined);
    expect(seen).toEqual([5, 4, 3, 2, 1]);
  });

  it('gives every version as it was applied, and no other', async () => {
    await apply(`${policy.document}# second\n`);
    expect(await get(1)).toMatchObject({ version: 1, document: policy.document });
    expect(await get()).toMatchObject({ version: 2, applied_from: sourceIp });
    await expect(get(3)).rejects.toMatchObject({ code: 'not_found' });
  });

  it('is for platform administrators alone (I11)', async () => {
    for (const claims of [analyst, personIn('admins', 'auditors')]) {
      const { token: other } = await policy.open(claims);
      await expect(
        policy.get(ListConfigVersions).run({ token: other, limit: 20, source_ip: sourceIp }),
      ).rejects.toMatchObject({ code: 'policy_denied' });
    }
  });
});

describe('a dry run', () => {
  it('tells what would change for whom, and changes nothing', async () => {
    const agent = await policy.open(analyst);
    await policy.get(Decide).run({
      token: agent.token,
      credential: 'tool/read',
      reply_key: policy.replyKey.publicJwk,
      source_ip: sourceIp,
    });
    const before = (await policy.outbox()).length;
    const document = policy.document
      .replace(
        "roles: [analyst]\n    scope: { scopes: ['read:orders:*'] }\n    ttl: { default: 5m, max: 15m }",
        "roles: [writer]\n    scope: { scopes: ['read:orders:*'] }\n    ttl: { default: 5m, max: 10m }",
      )
      .replace('session_ttl: 30m', 'session_ttl: 20m');
    const answer = await apply(document, { dry_run: true });
    expect(answer).toMatchObject({
      outcome: 'would_apply',
      version: 1,
      unchanged: false,
      ending_leases: 0,
      ending_sessions: 0,
      changes_total: 2,
    });
    expect(answer).not.toHaveProperty('locks_out');
    expect(answer.outcome === 'would_apply' && answer.changes).toEqual([
      expect.objectContaining({
        kind: 'trust_rule',
        name: 'agents',
        change: 'changed',
        details: ['session_ttl: 1800s → 1200s'],
        live_sessions: 1,
      }),
      expect.objectContaining({
        kind: 'credential',
        organization: 'acme',
        name: 'tool/read',
        details: ['roles: no longer analyst; also writer', 'ttl.max: 900s → 600s'],
        concerns:
          'role writer may have it from now on; role analyst may no longer have it by its list of roles',
        live_leases: 1,
      }),
    ]);
    expect((await list()).versions).toHaveLength(1);
    expect(await policy.outbox()).toHaveLength(before);
  });

  it('tells an organization that takes over the name of another, and whose sessions end with it', async () => {
    await policy.open(globexAnalyst);
    const document = policy.document.replace('trust_domain: globex.example', 'trust_domain: initech.example');
    const answer = await apply(document, { dry_run: true });
    expect(answer).toMatchObject({ outcome: 'would_apply', ending_sessions: 1 });
    const changes = answer.outcome === 'would_apply' ? answer.changes : [];
    const told = changes.map(
      ({ change, kind, organization, live_sessions }) =>
        `${change} ${kind} ${organization ?? ''} ${live_sessions}`,
    );
    expect(new Set(told)).toEqual(
      new Set([
        'removed organization globex 1',
        'added organization globex.2 0',
        'removed trust_rule globex 1',
        'added trust_rule globex.2 0',
        'removed integration globex 0',
        'added integration globex.2 0',
        'removed credential globex 0',
        'added credential globex.2 0',
      ]),
    );
    expect(bus.policy.applyConfig.output.safeParse(answer).success).toBe(true);
    expect(await apply(document)).toMatchObject({ outcome: 'applied', sessions_ended: 1 });
  });

  it('counts the leases that would end, says who is locked out, and reports no rejection', async () => {
    const agent = await policy.open(analyst);
    await policy.get(Decide).run({
      token: agent.token,
      credential: 'tool/read',
      reply_key: policy.replyKey.publicJwk,
      source_ip: sourceIp,
    });
    const signals = policy.signals.length;
    const document = policy.document
      .replace(/ {2}- name: tool\/read\n(?: {4}.*\n)+/, '')
      .replace('platform: platform_administrator', 'platform: auditor');
    expect(await apply(document, { dry_run: true })).toMatchObject({
      ending_leases: 1,
      ending_sessions: 1,
      locks_out: expect.stringContaining('platform_administrator'),
    });
    expect(await apply('organizations: []', { dry_run: true })).toMatchObject({ outcome: 'rejected' });
    expect(policy.signals).toHaveLength(signals);
    await expect(apply(document, { dry_run: true, expected_version: 7 })).rejects.toBeInstanceOf(MayflyError);
  });
});
