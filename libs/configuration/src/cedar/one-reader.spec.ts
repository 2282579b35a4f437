/**
 * Policies have one reader. Text of every kind is given to Cedar's own parser and to ours: they find the same policies, and what is
 * decided by slices of them is what Cedar decides by the whole text. Where they could differ, the text is refused.
 */
import * as cedar from '@cedar-policy/cedar-wasm/nodejs';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Configuration } from '../configuration.ts';
import { parseConfiguration } from '../parse.ts';
import { PolicyEvaluator, type PolicyQuestion } from './evaluator.ts';
import { cedarRequest } from './request.ts';
import { splitPolicies } from './split.ts';

/** All that anybody might take for the end of a line, and some that nobody should. */
const lineEnds = ['\n', '\r\n', '\r', '\n\r', '\v', '\f', '\x85', '\u2028', '\u2029', ' ', '\t'];
const lineEnd = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('\n', '\r\n', ' ') },
  { weight: 2, arbitrary: fc.constantFrom(...lineEnds) },
);
const head = fc.constantFrom(
  'permit (principal, action, resource)',
  'forbid (principal, action, resource)',
  'permit (principal in Role::"r1", action == Action::"mint", resource in Integration::"db")',
  'forbid (principal, action, resource == Credential::"db/a")',
  // The same name, in an escape that only Cedar reads.
  'forbid (principal, action, resource == Credential::"db\\u{2f}a")',
  'permit(principal is Agent in Role::"r1",action,resource)',
);
const condition = fc.constantFrom(
  '',
  ' when { principal has user && principal.user == "// no comment; \\" permit(" }',
  ' unless { context.ttl_seconds > 100 }',
  ' when { principal has task && principal.task like "a;*\\\\" }',
  ' when { context // in the middle; of it\n .justification_given }',
);
const annotation = fc.constantFrom('', '', '', '@reason("a; b // c") ');
const comment = fc.constantFrom(
  '',
  '',
  '// why',
  '// forbid (principal, action, resource);',
  '// "',
  '//',
  '/',
);
const written = fc
  .tuple(
    lineEnd,
    comment,
    lineEnd,
    annotation,
    head,
    condition,
    fc.constantFrom(';', ';', ';', ' ;', ';;', ''),
  )
  .map((parts) => parts.join(''));
const text = fc.array(written, { minLength: 1, maxLength: 5 }).map((policies) => policies.join(''));

const documentOf = (policies: string) =>
  JSON.stringify({
    organizations: [{ name: 'acme', trust_domain: 'acme.example' }],
    integrations: ['db', 'web'].map((name) => ({
      name,
      provider: 'jwt',
      audience: `https://${name}.example`,
    })),
    credentials: ['db/a', 'db/b', 'web/a'].map((name) => ({ name, scope: { scopes: ['read:a:b'] } })),
    policies,
  });

function questions(configuration: Configuration): PolicyQuestion[] {
  return [...configuration.credentialsOf('acme')].flatMap((credential) =>
    [{ agentRole: 'r1', task: 'a;b\\' }, { user: '// no comment; " permit(' }, {}].map((who, index) => ({
      organization: 'acme',
      agentId: 'spiffe://acme.example/agent/a/b/c',
      kind: 'agent' as const,
      ...who,
      credential,
      context: {
        source_ip: '192.0.2.1',
        ttl_seconds: index === 1 ? 300 : 60,
        justification_given: index === 2,
        now_hour: 12,
      },
    })),
  );
}

const partsOf = (policies: string) => {
  const answer = cedar.policySetTextToParts(policies);
  return answer.type === 'success' ? [...answer.policies, ...answer.policy_templates].toSorted() : undefined;
};

describe('the splitter', () => {
  it('finds the policies that Cedar finds, wherever Cedar can read the text', () => {
    let read = 0;
    fc.assert(
      fc.property(text, (policies) => {
        const parts = partsOf(policies);
        if (parts === undefined) return;
        read++;
        const accepted = parseConfiguration(documentOf(policies)).outcome === 'ok';
        const ours = splitPolicies(policies).map((policy) => policy.text);
        // Text that is refused decides nothing; of the others not one policy may be lost or made up.
        if (accepted || !/[^\t\n\x20-\x7E]/.test(policies.replaceAll('\r', ''))) {
          expect(ours.toSorted()).toEqual(parts);
        }
      }),
      { numRuns: 2_000 },
    );
    expect(read).toBeGreaterThan(100);
  });
});

describe('a document that is accepted', () => {
  it('decides by slices as Cedar does by the whole text, as it is written', () => {
    const seen = { allow: 0, deny: 0, refused: 0 };
    fc.assert(
      fc.property(text, (policies) => {
        const parsed = parseConfiguration(documentOf(policies));
        if (parsed.outcome === 'rejected') {
          seen.refused++;
          return;
        }
        const { configuration } = parsed;
        expect(configuration.policies.general.map((policy) => policy.text).toSorted()).toEqual(
          partsOf(policies),
        );
        const evaluator = PolicyEvaluator.compile(configuration);
        for (const question of questions(configuration)) {
          const answer = cedar.isAuthorized({
            ...cedarRequest(question),
            policies: { staticPolicies: policies },
          });
          if (answer.type !== 'success') throw new Error(JSON.stringify(answer.errors));
          const { decision, diagnostics } = answer.response;
          const whole = diagnostics.errors.length > 0 ? 'deny' : decision;
          expect(evaluator.evaluate(question).decision).toBe(whole);
          seen[whole]++;
        }
      }),
      { numRuns: 1_000 },
    );
    // The property says something only where all of these happen.
    expect(Math.min(seen.allow, seen.deny, seen.refused)).toBeGreaterThan(100);
  });

  it.each(lineEnds.filter((end) => !['\n', '\r\n'].includes(end)))(
    'never loses the forbid after a comment that ends, or does not end, with %j',
    (end) => {
      const policies = `permit (principal, action, resource); // everybody${end}forbid (principal, action, resource);\n`;
      expect(
        splitPolicies(policies)
          .map((policy) => policy.text)
          .toSorted(),
      ).toEqual(partsOf(policies));
      // A space and a tab are seen for what they are: the comment goes on.
      const isSeen = end === ' ' || end === '\t';
      expect(parseConfiguration(documentOf(policies)).outcome).toBe(isSeen ? 'ok' : 'rejected');
    },
  );
});
