/** What is nested too deeply is refused before it breaks the engine, and a broken engine is replaced. */
import { describe, expect, it } from '@jest/globals';
import { authorizeWith, maxSlots, withCedar } from './engine.ts';
import { splitPolicies } from './split.ts';

const when = (body: string) => `permit(principal, action, resource) when { ${body} };`;
const many = 5_000;
const breaking: [string, string][] = [
  ['brackets', when('('.repeat(many) + 'true' + ')'.repeat(many))],
  ['brackets that never close', when('('.repeat(many))],
  ['sets', when('['.repeat(many) + ']'.repeat(many) + ' == 1')],
  ['records', when('{a:'.repeat(many) + '1' + '}'.repeat(many) + ' == 1')],
  ['if', when('if true then '.repeat(many) + 'true' + ' else false'.repeat(many))],
  ['&&', when('true' + ' && true'.repeat(many))],
  ['||', when('true' + '||true'.repeat(many))],
  ['+', when('1' + '+1'.repeat(many) + ' == 2')],
  ['attributes', when('context' + '.a'.repeat(many))],
  ['methods', when('context.source_ip' + '.isIpv4()'.repeat(many))],
  ['!', when('!'.repeat(many) + 'true')],
  ['-', when('-'.repeat(many) + '1 == 1')],
  ['clauses', 'permit(principal, action, resource)' + ' when { true }'.repeat(many) + ';'],
  ['a long text', when(`"${'x'.repeat(100_000)}" == ""`)],
];

describe('what would break the engine', () => {
  it.each(breaking)('%s: refused before', (_name, text) => {
    expect(splitPolicies(text)[0]?.refusal).toMatch(/policy (?:has more|is longer) than/);
  });

  it('a policy at every bound at once is none of it', () => {
    const text = when(
      '('.repeat(20) +
        'if true then '.repeat(20) +
        '1' +
        '+1'.repeat(200) +
        ' == 2' +
        ' else false'.repeat(20) +
        ')'.repeat(20),
    );
    expect(splitPolicies(text)[0]?.refusal).toBeUndefined();
    expect(withCedar((cedar) => cedar.policyToJson(text))?.type).toBe('success');
  });
});

describe('a broken engine', () => {
  const request = {
    principal: { type: 'Agent', id: 'a' },
    action: { type: 'Action', id: 'mint' },
    resource: { type: 'Credential', id: 'db/a' },
    context: {},
    entities: [],
  };

  it('says nothing, and is replaced', () => {
    expect(withCedar((cedar) => cedar.policyToJson(breaking[0]?.[1] ?? ''))).toBeUndefined();
    const answer = authorizeWith('fresh', () => ({ all: 'permit(principal, action, resource);' }), request);
    expect(answer).toMatchObject({ type: 'success', response: { decision: 'allow' } });
  });

  it('a policy set that can not be parsed is no answer', () => {
    expect(authorizeWith('broken', () => ({ broken: 'permit(' }), request)).toBeUndefined();
  });

  it('a policy set that can not be parsed never lets one be taken for another', () => {
    const nothing = () => ({});
    for (let count = 0; count < maxSlots; count++) authorizeWith(`nobody ${count}`, nothing, request);
    expect(authorizeWith('broken', () => ({ broken: 'permit(' }), request)).toBeUndefined();
    authorizeWith('everybody', () => ({ all: 'permit(principal, action, resource);' }), request);
    for (let count = maxSlots - 3; count < maxSlots; count++) {
      const answer = authorizeWith(`nobody ${count}`, nothing, request);
      expect(answer).toMatchObject({ type: 'success', response: { decision: 'deny' } });
    }
  });
});

describe('splitPolicies', () => {
  it('ends a policy at its semicolon, and at no other', () => {
    const text = `// a ; comment
      permit(principal, action, resource) when { "; \\" ;" == ";" }; // after;
      @id("x;y") forbid(principal, action, resource);
      permit(`;
    const policies = splitPolicies(text);
    expect(policies.map((policy) => policy.text)).toEqual([
      'permit(principal, action, resource) when { "; \\" ;" == ";" };',
      '@id("x;y") forbid(principal, action, resource);',
      'permit(',
    ]);
    for (const policy of policies) expect(text.startsWith(policy.text, policy.offset)).toBe(true);
  });

  it.each(['', '  \n', '// only a comment', '// one\n// two\n'])('finds nothing in %j', (text) => {
    expect(splitPolicies(text)).toEqual([]);
  });

  it('takes time in proportion to the text', () => {
    const start = performance.now();
    for (const text of [
      '"'.repeat(700_000),
      '/'.repeat(700_000),
      ';'.repeat(700_000),
      '"\\'.repeat(350_000),
    ]) {
      splitPolicies(text);
    }
    expect(performance.now() - start).toBeLessThan(10_000);
  });
});
