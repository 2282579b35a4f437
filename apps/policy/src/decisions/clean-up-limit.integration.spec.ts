/** What ended leases left upstream and can't be removed counts against their own orchestration, at that integration alone. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { newEvent } from '@mayfly/messaging';
import { v7 as uuidv7 } from 'uuid';
import { runPolicy, sourceIp, type RunningPolicy } from '../spec-support/running-policy.ts';
import { analyst, globexAnalyst, twoOrganizations } from '../spec-support/two-organizations.ts';
import { Decide } from './decide.ts';
import { LeaseRegister } from './lease-register.ts';
import { Renew } from './renew.ts';

const manyOrchestrations = twoOrganizations.replace(
  'orchestration: ci,',
  'orchestration: { claim: orchestration },',
);

describe('failing clean-ups', () => {
  let policy: RunningPolicy;
  beforeAll(async () => {
    policy = await runPolicy(manyOrchestrations);
  });
  afterAll(() => policy.stop());
  beforeEach(async () => {
    await policy.database.pool.query('DELETE FROM policy.failing_cleanups');
    policy.signals.splice(0);
  });

  const hostile = { ...analyst, orchestration: 'nightly-reports' };
  const place = {
    organization: 'acme',
    integration: 'tool',
    agent_id: 'spiffe://acme.example/agent/nightly-reports/nightly/7',
  };
  const tell = (type: 'credential.cleanup_failed' | 'credential.cleaned_up', leaseIds: readonly string[]) =>
    policy
      .get(LeaseRegister)
      .record(leaseIds.map((lease_id) => newEvent('revocation', type, { lease_id, ...place })));
  const leases = (count: number) => Array.from({ length: count }, () => uuidv7());
  const ask = async (who: Record<string, unknown>, credential: string) => {
    const { token } = await policy.open(who);
    return policy
      .get(Decide)
      .run({ token, credential, reply_key: policy.replyKey.publicJwk, source_ip: sourceIp });
  };

  it('at twenty are told as a limit to whoever is of the same orchestration, until one of them is done', async () => {
    const left = leases(20);
    await tell('credential.cleanup_failed', left.slice(0, 19));
    expect((await ask(hostile, 'tool/read')).decision).toBe('allow');
    // Told again, they are the same ones.
    await tell('credential.cleanup_failed', left.slice(0, 19));
    expect((await ask(hostile, 'tool/read')).decision).toBe('allow');
    await tell('credential.cleanup_failed', left.slice(19));
    // Another task and instance of the orchestration.
    expect(await ask({ ...hostile, task: 'other', run: '9' }, 'tool/read')).toEqual({
      decision: 'deny',
      code: 'limit_exceeded',
      reason:
        '20 earlier leases of this orchestration at tool left things behind that could not be removed yet; no more are issued to it there until they are',
    });
    expect(policy.signals.map(({ data }) => data)).toMatchObject([
      {
        outcome: 'limit_exceeded',
        integration: 'tool',
        credential: 'tool/read',
        reason:
          'the clean-up of 20 earlier leases or more of the orchestration nightly-reports at tool fails',
      },
    ]);
    await tell('credential.cleaned_up', left.slice(0, 1));
    expect((await ask(hostile, 'tool/read')).decision).toBe('allow');
  });

  it('are nothing to other orchestrations, integrations and organizations', async () => {
    await tell('credential.cleanup_failed', leases(25));
    expect((await ask(hostile, 'tool/read')).decision).toBe('deny');
    const others = await Promise.all([
      ask({ ...hostile, orchestration: 'deployments' }, 'tool/read'),
      ask({ ...hostile, role: 'writer' }, 'orders-db/read'),
      ask(globexAnalyst, 'plans/read'),
    ]);
    expect(others.map(({ decision }) => decision)).toEqual(['allow', 'allow', 'allow']);
  });

  it('of an orchestration are not held against one of the same name in another organization', async () => {
    const agent_id = 'spiffe://acme.example/agent/ci/nightly/1';
    const elsewhere = { organization: 'acme', integration: 'plans', agent_id };
    const events = leases(20).map((lease_id) =>
      newEvent('revocation', 'credential.cleanup_failed', { lease_id, ...elsewhere }),
    );
    await policy.get(LeaseRegister).record(events);
    expect((await ask(globexAnalyst, 'plans/read')).decision).toBe('allow');
  });

  it('stop renewals by rotation too, which make a new lease there', async () => {
    const { token } = await policy.open({ ...hostile, role: 'writer' });
    const request = { token, reply_key: policy.replyKey.publicJwk, source_ip: sourceIp };
    const first = await policy.get(Decide).run({ ...request, credential: 'tool/rotating' });
    if (first.decision !== 'allow') throw new Error(JSON.stringify(first));
    const { lease_id } = first;
    await policy.get(LeaseRegister).record([newEvent('revocation', 'credential.issued', { lease_id })]);
    const left = leases(20);
    await tell('credential.cleanup_failed', left);
    const refused = await policy.get(Renew).run({ ...request, lease_id });
    expect(refused).toMatchObject({ decision: 'deny', code: 'limit_exceeded' });
    expect(policy.signals.map(({ data }) => data)).toMatchObject([{ lease_id, outcome: 'limit_exceeded' }]);
    await tell('credential.cleaned_up', left);
    expect((await policy.get(Renew).run({ ...request, lease_id })).decision).toBe('rotate');
  });
});
