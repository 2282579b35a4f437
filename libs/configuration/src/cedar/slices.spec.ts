/** The sliced evaluation answers as the evaluation of every policy would; and what a decision costs. */
import * as cedar from '@cedar-policy/cedar-wasm/nodejs';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Configuration } from '../configuration.ts';
import { parseConfiguration } from '../parse.ts';
import { maxSlots } from './engine.ts';
import { PolicyEvaluator, type PolicyQuestion } from './evaluator.ts';
import { rolesPermit } from './policies.ts';
import { cedarRequest } from './request.ts';

const roles = ['r1', 'r2', 'r3'];
const integrations = ['db', 'web'];
const credentials = ['db/a', 'db/b', 'web/a'];

const principalHead = fc.constantFrom(
  'principal',
  'principal is Agent',
  'principal is Person',
  ...roles.flatMap((role) => [`principal in Role::"${role}"`, `principal is Agent in Role::"${role}"`]),
  'principal == Agent::"spiffe://acme.example/agent/a/b/c"',
  'principal in Organization::"acme"',
);
const resourceHead = fc.constantFrom(
  'resource',
  'resource is Credential',
  'resource in Organization::"acme"',
  ...credentials.flatMap((name) => [
    `resource == Credential::"${name}"`,
    `resource in Credential::"${name}"`,
  ]),
  ...integrations.flatMap((name) => [
    `resource in Integration::"${name}"`,
    `resource is Credential in Integration::"${name}"`,
  ]),
);
const condition = fc.constantFrom(
  '',
  'when { context.ttl_seconds > 100 }',
  'unless { context.justification_given }',
  'when { principal has user && principal.user == "ada" }',
  'when { resource == Credential::"db/a" }',
  'when { principal in [Role::"r1", Role::"r2"] }',
  // Fails where it is evaluated.
  'when { context.ttl_seconds * 9223372036854775807 > 0 }',
);
const policy = fc
  .tuple(fc.constantFrom('permit', 'permit', 'forbid'), principalHead, resourceHead, condition)
  .map(([effect, principal, resource, when]) => `${effect} (${principal}, action, ${resource}) ${when};`);
const roleLists = fc.tuple(...credentials.map(() => fc.subarray(roles)));

/** As `mayfly.yaml`, with two organizations that hold the same names. */
function documentOf(general: string[], own: string[], lists: string[][]): string {
  const organization = (name: string, policies: string[]) => ({
    name,
    trust_domain: `${name}.example`,
    ...(policies.length > 0 && { policies: policies.join('\n') }),
  });
  const inBoth = <T extends object>(block: T) =>
    ['acme', 'globex'].map((name) => ({ organization: name, ...block }));
  return JSON.stringify({
    organizations: [organization('acme', own), organization('globex', [])],
    integrations: integrations.flatMap((name) =>
      ['acme', 'globex'].map((organization) => ({
        organization,
        name,
        provider: 'jwt',
        audience: `https://${name}.${organization}.example`,
      })),
    ),
    credentials: credentials.flatMap((name, index) =>
      inBoth({ name, roles: lists[index] ?? [], scope: { scopes: ['read:a:b'] } }),
    ),
    ...(general.length > 0 && { policies: general.join('\n') }),
  });
}

function configurationOf(document: string): Configuration | undefined {
  const parsed = parseConfiguration(document);
  if (parsed.outcome === 'ok') return parsed.configuration;
  // Made at random, some policies can never apply, which is refused; nothing else is wrong with these.
  expect(parsed.problems.map((problem) => problem.message).join()).toMatch(
    /impossible|applicable|organization/,
  );
  return undefined;
}

/** Every policy that holds in the organization, as one set: what slicing must equal. */
function decideByAll(configuration: Configuration, question: PolicyQuestion) {
  const { general, byOrganization } = configuration.policies;
  const written = [...general, ...(byOrganization.get(question.organization) ?? [])];
  const permits = [...configuration.credentialsOf(question.organization)].flatMap(
    (credential) => rolesPermit(credential) ?? [],
  );
  const staticPolicies = Object.fromEntries([...written, ...permits].map(({ id, text }) => [id, text]));
  const answer = cedar.isAuthorized({ ...cedarRequest(question), policies: { staticPolicies } });
  if (answer.type !== 'success') throw new Error(JSON.stringify(answer.errors));
  const { decision, diagnostics } = answer.response;
  return diagnostics.errors.length > 0
    ? { decision: 'deny', failed: true }
    : { decision, policyIds: diagnostics.reason.toSorted() };
}

describe('a slice', () => {
  it('decides as the whole policy set does', () => {
    const seen = { allow: 0, deny: 0, failed: 0 };
    fc.assert(
      fc.property(
        fc.array(policy, { maxLength: 8 }),
        fc.array(policy, { maxLength: 8 }),
        roleLists,
        (general, own, lists) => {
          const configuration = configurationOf(documentOf(general, own, lists));
          if (!configuration) return;
          const evaluator = PolicyEvaluator.compile(configuration);
          for (const question of everyQuestion(configuration)) {
            const whole = decideByAll(configuration, question);
            const sliced = evaluator.evaluate(question);
            expect(sliced.decision).toBe(whole.decision);
            if (whole.policyIds) expect(sliced.policyIds).toEqual(whole.policyIds);
            else seen.failed++;
            seen[sliced.decision]++;
          }
        },
      ),
      { numRuns: 60 },
    );
    // The property says something only where all of these happen.
    expect(Math.min(seen.allow, seen.deny, seen.failed)).toBeGreaterThan(20);
  });
});

function everyQuestion(configuration: Configuration): PolicyQuestion[] {
  return ['acme', 'globex'].flatMap((organization) =>
    [...configuration.credentialsOf(organization)].flatMap((credential) =>
      ['r1', 'r3', 'unknown', undefined].flatMap((role) =>
        (['agent', 'person'] as const).map((kind) => ({
          organization,
          agentId: 'spiffe://acme.example/agent/a/b/c',
          kind,
          ...(role !== undefined && { agentRole: role }),
          ...(role === 'r1' && { user: 'ada' }),
          credential,
          context: {
            source_ip: '192.0.2.1',
            ttl_seconds: role === 'r3' ? 60 : 300,
            justification_given: role === 'r1',
          },
        })),
      ),
    ),
  );
}

/** A document with so many credentials, and a policy of its own for each of the first `policies`. */
function large(count: number, policies: number) {
  const names = Array.from({ length: count }, (_, index) => `db/c${index}`);
  const document = [
    'organizations: [{name: acme, trust_domain: acme.example}]',
    'integrations: [{name: db, provider: jwt, audience: https://db.example}]',
    'credentials:',
    ...names.map((name) => ` - {name: ${name},roles: [r],scope: {scopes: ['read:a:b']}}`),
    'policies: |',
    ...names
      .slice(0, policies)
      .map(
        (name) =>
          ` forbid(principal, action, resource==Credential::"${name}") when {context.ttl_seconds>3600};`,
      ),
  ].join('\n');
  const parsed = parseConfiguration(document);
  if (parsed.outcome !== 'ok') throw new Error(JSON.stringify(parsed.problems[0]));
  const evaluator = PolicyEvaluator.compile(parsed.configuration);
  const all = [...parsed.configuration.credentialsOf('acme')];
  return (round: number) => {
    const credential = all[(round * 7919) % all.length];
    if (!credential) throw new Error('no credential');
    return evaluator.evaluate({
      organization: 'acme',
      agentId: 'spiffe://acme.example/agent/a/b/c',
      kind: 'agent',
      agentRole: 'r',
      credential,
      context: { source_ip: '192.0.2.1', ttl_seconds: 300, justification_given: false },
    });
  };
}

describe('the cost of a decision', () => {
  it('does not grow with 1,000 policies and 10,000 credentials (at most 1.5 ×, best of 9 rounds each)', () => {
    const [small, big] = [large(10, 10), large(10_000, 1_000)];
    const best = { small: Infinity, big: Infinity };
    const timed = (decide: (round: number) => unknown, from: number) => {
      const start = performance.now();
      for (let round = from; round < from + 1_000; round++) decide(round);
      return performance.now() - start;
    };
    for (let round = 0; round < 10_000; round++) big(round);
    for (let round = 0; round < 9; round++) {
      best.small = Math.min(best.small, timed(small, round * 1_000));
      best.big = Math.min(best.big, timed(big, round * 1_000));
    }
    expect(small(1).decision).toBe('allow');
    expect(big(1).decision).toBe('allow');
    expect(best.big / best.small).toBeLessThan(1.5);
  });

  it('stays right when there are more slices than slots', () => {
    const decide = large(maxSlots + 100, maxSlots + 100);
    const wrong = Array.from({ length: 2 * maxSlots + 300 }, (_, round) => decide(round)).filter(
      (answer) => answer.decision !== 'allow',
    );
    expect(wrong).toEqual([]);
  });
});
