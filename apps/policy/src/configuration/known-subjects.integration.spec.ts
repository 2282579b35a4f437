/** A typo in what is to be blocked or revoked is told, and no end that means something is refused for it. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { bus, MayflyError, type BlockSubject, type RevocationSubject } from '@mayfly/contracts';
import { Authorize } from '../authorization/authorize.ts';
import { Blocks } from '../blocks/blocks.ts';
import { Decide } from '../decisions/decide.ts';
import { createLogger } from '@mayfly/telemetry';
import { recover } from '../recover/recover.ts';
import { runPolicy, sourceIp, type RunningPolicy } from '../spec-support/running-policy.ts';
import { analyst, personIn, twoOrganizations } from '../spec-support/two-organizations.ts';
import { ApplyConfig } from './apply-config.ts';

let policy: RunningPolicy;
let administrator: string;
beforeEach(async () => {
  policy = await runPolicy(twoOrganizations);
  administrator = (await policy.open(personIn('admins'))).token;
});
afterEach(() => policy.stop());

const outcomeOf = (attempt: Promise<unknown>) =>
  attempt.then(
    () => 'ok',
    (error: unknown) => (error instanceof MayflyError ? `${error.code}: ${error.reason}` : String(error)),
  );
const block = (subject: BlockSubject) =>
  outcomeOf(
    policy
      .get(Blocks)
      .add({ token: administrator, subject, reason: 'x', revoke: false, source_ip: sourceIp }),
  );
const revoke = (subject: RevocationSubject) =>
  outcomeOf(
    policy.get(Authorize).run({
      token: administrator,
      act: { action: 'revoke', subject, reason: 'x' },
      source_ip: sourceIp,
    }),
  );

describe('what is not there', () => {
  it.each<[BlockSubject, RegExp]>([
    [{ kind: 'credential', id: 'tool/raed' }, /no such credential; did you mean "tool\/read"/],
    [{ kind: 'integration', id: 'orders_db' }, /no such integration; did you mean "orders-db"/],
    [{ kind: 'integration', id: 'plans' }, /no such integration, and/],
    [{ kind: 'credential', id: 'plans/read' }, /no such credential, and/],
    [
      { kind: 'agent', id: 'spiffe://globex.example/agent/ci/nightly/1' },
      /of the trust domain acme\.example/,
    ],
    [{ kind: 'agent', id: 'spiffe://acme.exampel/agent/ci/nightly/1' }, /of the trust domain acme\.example/],
  ])('is neither blocked nor revoked: %j', async (subject, told) => {
    expect(await block(subject)).toMatch(told);
    expect(await block(subject)).toMatch(/^invalid_request/);
    expect(await revoke(subject)).toMatch(told);
    expect((await policy.outbox()).map(({ type }) => type)).not.toContain('dev.mayfly.block.added.v1');
  });

  it('is told alike whether another organization has it or nobody has (I5)', async () => {
    const told = await block({ kind: 'integration', id: 'plans' });
    expect(await block({ kind: 'integration', id: 'zzzzz' })).toBe(told);
    const foreign = await revoke({ kind: 'agent', id: 'spiffe://globex.example/agent/ci/nightly/1' });
    expect(await revoke({ kind: 'agent', id: 'spiffe://nobody.example/agent/ci/nightly/1' })).toBe(foreign);
  });
});

describe('what is there', () => {
  it.each<BlockSubject>([
    { kind: 'credential', id: 'tool/read' },
    { kind: 'integration', id: 'orders-db' },
    { kind: 'agent', id: 'spiffe://acme.example/agent/ci/nightly/never-seen' },
    { kind: 'user', id: 'nobody@acme.example' },
  ])('is blocked and revoked: %j', async (subject) => {
    expect([await block(subject), await revoke(subject)]).toEqual(['ok', 'ok']);
  });

  it('in a version that another replica has applied is found', async () => {
    const document = policy.document.replaceAll('tool/limited', 'tool/brand-new');
    await policy.database.pool.query(
      `INSERT INTO policy.config_versions VALUES (2, $1, 'x', now(), 'another replica')`,
      [document],
    );
    expect(await block({ kind: 'credential', id: 'tool/brand-new' })).toBe('ok');
  });
});

describe('what is revoked', () => {
  it('is signed in the form of its kind', async () => {
    const signed = async (subject: RevocationSubject) => {
      const act = { action: 'revoke', subject, reason: 'test' };
      const input = bus.policy.authorize.input.parse({ token: administrator, act, source_ip: sourceIp });
      const { assertion } = await policy.get(Authorize).run(input);
      const claims = await policy.readAssertion(assertion);
      return claims.act.action === 'revoke' ? claims.act.subject : undefined;
    };
    const id = '0199A3C4-7D1E-7B3A-9F10-2C5D8E6B4A21';
    expect(await signed({ kind: 'session', id })).toEqual({ kind: 'session', id: id.toLowerCase() });
    expect(await signed({ kind: 'user', id: 'Ann@ACME.example' })).toEqual({
      kind: 'user',
      id: 'ann@acme.example',
    });
    expect(await signed({ kind: 'organization', id: 'acme' })).toEqual({ kind: 'organization', id: 'acme' });
  });
});

describe('what a document has removed', () => {
  it('can be revoked for as long as something of it may live', async () => {
    const { token } = await policy.open(analyst);
    await policy.get(Decide).run({
      token,
      credential: 'tool/read',
      reply_key: policy.replyKey.publicJwk,
      source_ip: sourceIp,
    });
    const { token: platform } = await policy.open(personIn('platform'));
    await policy.get(ApplyConfig).run({
      token: platform,
      document: policy.document
        .replace(/ {2}- name: tool\/read\n(?: {4}.*\n)+/, '')
        .replaceAll('tool/limited', 'tool/few'),
      end_leases: true,
      source_ip: sourceIp,
    });
    const credential = { kind: 'credential', id: 'tool/read' } as const;
    expect([await revoke(credential), await block(credential)]).toEqual(['ok', 'ok']);
    expect(await revoke({ kind: 'credential', id: 'tool/few' })).toBe('ok');
    // Removed too, and nothing of it lives.
    expect(await revoke({ kind: 'credential', id: 'tool/limited' })).toMatch(/^invalid_request/);
    await policy.database.pool.query('UPDATE policy.reservations SET ended_at = now()');
    expect(await revoke(credential)).toMatch(/^invalid_request/);
  });

  it('can be ended to its last agent by an administrator whose organization is gone, and who was kept', async () => {
    await recover(policy.database.pool, createLogger({ service: 'policy', level: 'silent' }), {
      document: policy.document.replace('trust_domain: acme.example', 'trust_domain: acme.test'),
      host: 'a',
      osUser: 'b',
      endLeases: true,
      lockMeOut: false,
    });
    // The first look finds the new version.
    expect(await revoke({ kind: 'credential', id: 'no/such' })).toMatch(/^invalid_request/);
    expect(await revoke({ kind: 'agent', id: 'spiffe://acme.example/agent/ci/nightly/1' })).toBe('ok');
  });

  it('nothing is refused while there is no configuration to compare with', async () => {
    await policy.database.pool.query(
      `INSERT INTO policy.config_versions VALUES (2, 'from: a later release', 'x', now(), 'somebody')`,
    );
    // The first look finds the version that can't be read.
    expect(await revoke({ kind: 'credential', id: 'no/such' })).toBe('ok');
    expect(await revoke({ kind: 'credential', id: 'no/such' })).toBe('ok');
  });
});
