/** The example of docs/configuration.md does what it says, with real tokens. */
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { generateSealingKeyPair } from '@mayfly/tokens';
import { ApplyConfig } from '../configuration/apply-config.ts';
import { Decide } from '../decisions/decide.ts';
import { runPolicy, sourceIp, type RunningPolicy } from '../spec-support/running-policy.ts';
import { ExchangeToken } from './exchange-token.ts';

let policy: RunningPolicy;
beforeAll(async () => {
  const page = await readFile(new URL('../../../../docs/configuration.md', import.meta.url), 'utf8');
  const example = /```yaml\n(organizations:.*?)```/s.exec(page)?.[1] ?? '';
  // Only where keys are is another place.
  policy = await runPolicy(example.replace(/jwks: \S+/g, 'jwks: ISSUER_KEYS'));
});
afterAll(() => policy.stop());

async function open(claims: Record<string, unknown>, issuer: string) {
  const opened = await policy.get(ExchangeToken).run({
    subject_token: await policy.seal(await policy.identity(claims, { issuer })),
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    recipient_key: (await generateSealingKeyPair()).publicJwk,
    reply_key: policy.replyKey.publicJwk,
    source_ip: sourceIp,
  });
  return policy.seal(await policy.replyKey.open(opened.access_token));
}
const build = { repository: 'acme/shop', workflow: 'nightly', run_id: 4711, role: 'analyst', actor: 'ada' };
const ci = 'https://token.ci.example';
const decide = (token: string, source_ip: string) =>
  policy.get(Decide).run({
    token,
    credential: 'orders-db/readonly',
    reply_key: policy.replyKey.publicJwk,
    source_ip,
  });

describe('the example of the configuration page', () => {
  it('admits a build, and grants it what its role may have, where the policy lets it', async () => {
    const token = await open(build, ci);
    const [opened] = (await policy.outbox()).filter(({ type }) => type === 'dev.mayfly.session.opened.v1');
    expect(opened?.data).toMatchObject({
      agent_id: 'spiffe://acme.example/agent/ci/nightly/4711',
      agent_role: 'analyst',
      user: 'ada',
      ttl_seconds: 1_800,
    });
    expect(await decide(token, '10.1.2.3')).toMatchObject({ decision: 'allow' });
    expect(await decide(token, '192.0.2.1')).toMatchObject({ decision: 'deny', code: 'policy_denied' });
  });

  it('admits no other repository, and no role that it does not list', async () => {
    await expect(open({ ...build, repository: 'acme/other' }, ci)).rejects.toMatchObject({
      code: 'unauthenticated',
    });
    await expect(open({ ...build, role: 'root' }, ci)).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  it('lets the platform group apply a configuration', async () => {
    const person = { hd: 'acme.example', email: 'ada@acme.example', groups: ['platform'] };
    const token = await open(person, 'https://login.acme.example');
    const applied = {
      token,
      document: `${policy.document}# again\n`,
      end_leases: false,
      source_ip: sourceIp,
    };
    expect(await policy.get(ApplyConfig).run(applied)).toMatchObject({ outcome: 'applied', version: 2 });
  });
});
