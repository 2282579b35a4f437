import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { bus, MayflyError, type RevocationSubject } from '@mayfly/contracts';
import { ApplyConfig } from '../configuration/apply-config.ts';
import { Decide } from '../decisions/decide.ts';
import { runPolicy, sourceIp, type RunningPolicy } from '../spec-support/running-policy.ts';
import { analyst, personIn, twoOrganizations } from '../spec-support/two-organizations.ts';
import { Authorize } from './authorize.ts';

describe('an administrator who revokes', () => {
  let policy: RunningPolicy;
  let administrator: string;
  beforeAll(async () => {
    policy = await runPolicy(twoOrganizations);
    administrator = (await policy.open(personIn('admins'))).token;
  });
  afterAll(() => policy.stop());

  /** The subject as it was signed, or why it was not. */
  const signed = async (subject: RevocationSubject) => {
    const act = { action: 'revoke', subject, reason: 'test' };
    const input = bus.policy.authorize.input.parse({ token: administrator, act, source_ip: sourceIp });
    try {
      const { assertion } = await policy.get(Authorize).run(input);
      const claims = await policy.readAssertion(assertion);
      return claims.act.action === 'revoke' ? claims.act.subject : undefined;
    } catch (error) {
      if (error instanceof MayflyError) return error.code;
      throw error;
    }
  };

  it('has the subject signed in the form of its kind', async () => {
    const id = '0199A3C4-7D1E-7B3A-9F10-2C5D8E6B4A21';
    expect(await signed({ kind: 'session', id })).toEqual({ kind: 'session', id: id.toLowerCase() });
    expect(await signed({ kind: 'user', id: 'Ann@ACME.example' })).toEqual({
      kind: 'user',
      id: 'ann@acme.example',
    });
    expect(await signed({ kind: 'organization', id: 'acme' })).toEqual({ kind: 'organization', id: 'acme' });
  });

  it('is told of a name that nothing can have, instead of "0 leases"', async () => {
    for (const subject of [
      { kind: 'agent', id: 'spiffe://globex.example/agent/ci/nightly/1' },
      { kind: 'credential', id: 'tool/raed' },
      { kind: 'credential', id: 'plans/read' },
      { kind: 'integration', id: 'tol' },
    ] as const) {
      expect([subject.id, await signed(subject)]).toEqual([subject.id, 'invalid_request']);
    }
  });

  it('may name what the document has no longer, while leases of it live', async () => {
    const agent = await policy.open(analyst);
    const ask = { credential: 'tool/read', reply_key: policy.replyKey.publicJwk, source_ip: sourceIp };
    expect(await policy.get(Decide).run({ token: agent.token, ...ask })).toMatchObject({ decision: 'allow' });
    const { token } = await policy.open(personIn('platform'));
    await policy.get(ApplyConfig).run({
      token,
      document: policy.document.replaceAll('tool/read', 'tool/look').replaceAll('tool/limited', 'tool/few'),
      end_leases: true,
      source_ip: sourceIp,
    });
    expect(await signed({ kind: 'credential', id: 'tool/read' })).toEqual({
      kind: 'credential',
      id: 'tool/read',
    });
    expect(await signed({ kind: 'credential', id: 'tool/limited' })).toBe('invalid_request');
    expect(await signed({ kind: 'credential', id: 'tool/look' })).toEqual({
      kind: 'credential',
      id: 'tool/look',
    });
  });
});
