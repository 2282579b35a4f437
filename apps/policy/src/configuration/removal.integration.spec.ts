import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { bus, MayflyError } from '@mayfly/contracts';
import { hasMark } from '@mayfly/domain';
import type { BusClient } from '@mayfly/messaging';
import { loadVerificationKeys, tokenKinds, TokenVerifier } from '@mayfly/tokens';
import { Decide } from '../decisions/decide.ts';
import { runPolicy, sourceIp, type RunningPolicy } from '../spec-support/running-policy.ts';
import { analyst, personIn, twoOrganizations } from '../spec-support/two-organizations.ts';
import { ApplyConfig } from './apply-config.ts';
import { OrderSweeps } from './order-sweeps.ts';

describe('a document that removes a credential with live leases', () => {
  let policy: RunningPolicy;
  let ended: string[];
  let away: boolean;

  beforeEach(async () => {
    [ended, away] = [[], false];
    const client = {
      call: (operation: { name: string }, { assertion }: { assertion: string }) => {
        expect(operation.name).toBe(bus.revocation.revoke.name);
        if (away) return Promise.reject(new MayflyError('dependency_unavailable', 'away'));
        ended.push(assertion);
        return Promise.resolve({});
      },
    } as unknown as BusClient;
    policy = await runPolicy(twoOrganizations, { client });
  });
  afterEach(() => policy.stop());

  const hold = async () => {
    const { token } = await policy.open(analyst);
    const answer = await policy.get(Decide).run({
      token,
      credential: 'tool/read',
      reply_key: policy.replyKey.publicJwk,
      source_ip: sourceIp,
    });
    if (answer.decision !== 'allow') throw new Error('not allowed');
    return answer.lease_id;
  };
  const apply = async (
    endLeases: boolean,
    document = policy.document.replaceAll('tool/read', 'tool/look'),
  ) => {
    const { token } = await policy.open(personIn('platform'));
    return policy.get(ApplyConfig).run({ token, document, end_leases: endLeases, source_ip: sourceIp });
  };

  it('is refused, with how many there are, and the running one stays', async () => {
    await hold();
    await hold();
    await expect(apply(false)).rejects.toMatchObject({
      code: 'conflict',
      reason: expect.stringMatching(/^2 live leases .* acme: tool\/read \(2\)/) as unknown,
    });
    expect(ended).toEqual([]);
    await hold();
  });

  it('is applied when it has none', async () => {
    expect(await apply(false)).toMatchObject({ outcome: 'applied', version: 2 });
    expect(ended).toEqual([]);
  });

  it('ends them first when told to, each in its organization', async () => {
    await hold();
    expect(await apply(true)).toMatchObject({ outcome: 'applied', version: 2 });
    expect(await policy.readAssertion(ended[0] ?? '')).toMatchObject({
      actor: { organization: 'acme' },
      person_roles: ['administrator'],
      act: { action: 'revoke', subject: { kind: 'credential', id: 'tool/read' } },
    });
  });

  it('is not applied when their end could not be made durable', async () => {
    await hold();
    away = true;
    await expect(apply(true)).rejects.toMatchObject({ code: 'dependency_unavailable' });
    await hold();
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
