import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MayflyError } from '@mayfly/contracts';
import { createLogger } from '@mayfly/telemetry';
import { TokenVerifier, loadVerificationKeys, tokenKinds } from '@mayfly/tokens';
import { v7 as uuidv7 } from 'uuid';
import { Decide } from '../decisions/decide.ts';
import { runPolicy, sourceIp, type RunningPolicy } from '../spec-support/running-policy.ts';
import { analyst, personIn, twoOrganizations } from '../spec-support/two-organizations.ts';
import { ApplyConfig } from './apply-config.ts';
import { GetConfig } from './get-config.ts';
import { OrderReconciliation } from './order-reconciliation.ts';
import { RunningConfiguration } from './running-configuration.ts';

let policy: RunningPolicy;
let token: string;
beforeEach(async () => {
  policy = await runPolicy(twoOrganizations);
  ({ token } = await policy.open(personIn('platform')));
});
afterEach(async () => {
  await policy.stop();
});

const apply = (document: string, expectedVersion?: number, by = token) =>
  policy.get(ApplyConfig).run({
    token: by,
    document,
    ...(expectedVersion === undefined ? {} : { expected_version: expectedVersion }),
    end_leases: false,
    source_ip: sourceIp,
  });
const codeOf = (attempt: Promise<unknown>) =>
  attempt.then(
    () => 'ok',
    (error: unknown) => (error instanceof MayflyError ? error.code : String(error)),
  );
const removesNothing = { unchanged: false, revocations: [], revocations_total: 0, sessions_ended: 0 };
const withoutRead = () => policy.document.replace('roles: [analyst]', 'roles: [writer]');

describe('the first start', () => {
  it('applies the file of MAYFLY_CONFIG as version 1 and makes the service ready', async () => {
    expect(await policy.get(GetConfig).run({ token, source_ip: sourceIp })).toMatchObject({
      version: 1,
      document: policy.document,
      applied_by: 'bootstrap',
    });
    const [first] = await policy.outbox();
    expect(first).toMatchObject({ type: 'dev.mayfly.config.applied.v1', data: { config_version: 1 } });
    for (const check of policy.readiness.values()) expect(await check()).toBe(true);
  });
});

describe('a first start with an invalid file', () => {
  it('stores nothing, says where the file is wrong, and is not ready', async () => {
    const broken = await runPolicy(twoOrganizations.replace('provider: jwt', 'provider: jvt'));
    try {
      expect(await broken.readiness.get('configuration')?.()).toBe(false);
      expect(broken.logLines.join('')).toMatch(/"line":\d+/);
      expect(await broken.outbox()).toEqual([]);
      expect(await codeOf(broken.open(analyst))).toBe('dependency_unavailable');
    } finally {
      await broken.stop();
    }
  });
});

describe('applyConfig', () => {
  it('makes a valid document the running one at once, for decisions too', async () => {
    const agent = await policy.open(analyst);
    expect(await apply(withoutRead(), 1)).toEqual({ outcome: 'applied', version: 2, ...removesNothing });
    const answer = await policy.get(Decide).run({
      token: agent.token,
      credential: 'tool/read',
      reply_key: policy.replyKey.publicJwk,
      source_ip: sourceIp,
    });
    expect(answer).toMatchObject({ decision: 'deny', code: 'policy_denied' });
    expect(policy.signals.at(-1)?.data.config_version).toBe(2);
    const told = (await policy.outbox()).filter(({ type }) => type === 'dev.mayfly.config.applied.v1');
    expect(told.at(-1)?.data).toMatchObject({
      config_version: 2,
      organization: 'acme',
      agent_id: 'spiffe://acme.example/person/ann.at.acme.example',
    });
  });

  it('keeps the version of a document that is running already', async () => {
    expect(await apply(policy.document)).toEqual({
      outcome: 'applied',
      version: 1,
      ...removesNothing,
      unchanged: true,
    });
  });

  it('refuses when another version is running than the expected one', async () => {
    expect(await codeOf(apply(withoutRead(), 0))).toBe('conflict');
    expect(await codeOf(apply(policy.document, 7))).toBe('conflict');
  });

  it('lets just one of two simultaneous changes of the same version through', async () => {
    const documents = [withoutRead(), `${policy.document}# changed\n`];
    const codes = await Promise.all(documents.map((document) => codeOf(apply(document, 1))));
    expect(codes.sort()).toEqual(['conflict', 'ok']);
  });

  it('rejects an invalid document whole, with its places, and tells audit', async () => {
    const document = policy.document.replace('roles: [analyst]', 'rolls: [analyst]');
    const answer = await apply(document);
    expect(answer).toMatchObject({ outcome: 'rejected' });
    expect(answer.outcome === 'rejected' && answer.problems[0]?.line).toBeGreaterThan(1);
    expect(policy.signals.at(-1)).toMatchObject({ type: 'dev.mayfly.config.rejected.v1' });
    expect(await apply('a: \0')).toMatchObject({ outcome: 'rejected' });
    expect((await policy.get(GetConfig).run({ token, source_ip: sourceIp })).version).toBe(1);
  });

  it('is for platform administrators alone (I11)', async () => {
    for (const claims of [analyst, personIn('admins', 'auditors')]) {
      const { token: other } = await policy.open(claims);
      expect(await codeOf(apply(withoutRead(), 1, other))).toBe('policy_denied');
      expect(await codeOf(policy.get(GetConfig).run({ token: other, source_ip: sourceIp }))).toBe(
        'policy_denied',
      );
    }
  });
});

describe('another replica', () => {
  const logger = createLogger({ service: 'policy', level: 'silent' });

  it('takes up a version that it did not apply itself', async () => {
    const replica = new RunningConfiguration(policy.database.pool, logger);
    await replica.refresh();
    expect(replica.current().version).toBe(1);
    await apply(withoutRead());
    await replica.refresh();
    expect(replica.current().version).toBe(2);
  });

  it('goes on with a version of an earlier release that gives what this one does not, without that, and says so', async () => {
    const lines: string[] = [];
    const told = createLogger({
      service: 'policy',
      level: 'error',
      destination: { write: (text) => lines.push(text) },
    });
    const replica = new RunningConfiguration(policy.database.pool, told);
    const document = policy.document.replace('privileges: [SELECT]', 'privileges: [SELECT, TRIGGER]');
    expect(await apply(document)).toMatchObject({ outcome: 'rejected' });
    await policy.database.pool.query(
      `INSERT INTO policy.config_versions VALUES (2, $1, 'x', now(), 'somebody')`,
      [document],
    );
    await replica.refresh();
    expect(replica.current().configuration.credential('acme', 'orders-db/read')?.scope).toEqual({
      privileges: ['SELECT'],
      schemas: ['public'],
    });
    expect(lines.join('')).toContain('TRIGGER lets a lease run code');
    // Who corrects it need not go back to the earlier release.
    expect(await apply(policy.document)).toMatchObject({ outcome: 'applied', version: 3 });
  });

  it('decides nothing while the newest version is one that it cannot read', async () => {
    const replica = new RunningConfiguration(policy.database.pool, logger);
    await replica.refresh();
    await policy.database.pool.query(
      `INSERT INTO policy.config_versions VALUES (2, 'from: a later release', 'x', now(), 'somebody')`,
    );
    await replica.refresh();
    expect(replica.isLoaded()).toBe(false);
    expect(() => replica.current()).toThrow(MayflyError);
  });
});

describe('orderReconciliation', () => {
  const order = (credential: string, version: number, organization = 'acme') =>
    policy.get(OrderReconciliation).run({
      lease_id: uuidv7(),
      organization,
      credential,
      config_version: version,
    });

  it('signs by the version that the lease was granted under', async () => {
    await apply(policy.document.replaceAll('tool/read', 'tool/look'));
    const { order: signed } = await order('tool/read', 1);
    const pinned = await loadVerificationKeys(policy.keys.public.grant);
    const claims = await new TokenVerifier(tokenKinds.reconcileOrder, pinned).verify(signed, {
      now: new Date(),
    });
    expect(claims).toMatchObject({
      organization: 'acme',
      credential: 'tool/read',
      provider: 'jwt',
      integration: { name: 'tool', secret_references: ['env:ACME_'] },
      config_version: 1,
    });
    expect(await codeOf(order('tool/read', 2))).toBe('ok');
  });

  it("I5: knows neither an integration that never was nor another organization's credential", async () => {
    expect(await codeOf(order('elsewhere/read', 9))).toBe('not_found');
    expect(await codeOf(order('plans/read', 1))).toBe('not_found');
    expect(await codeOf(order('plans/read', 1, 'globex'))).toBe('ok');
  });
});
