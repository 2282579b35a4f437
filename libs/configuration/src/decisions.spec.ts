/** Runs the cases of `decisions.spec.yaml`, and asks what no case can: whose credential it is. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { z } from 'zod';
import { PolicyEvaluator, type PolicyQuestion } from './cedar/evaluator.ts';
import type { Configuration } from './configuration.ts';
import { parseConfiguration } from './parse.ts';

const Cases = z.strictObject({
  document: z.string(),
  cases: z.array(
    z.strictObject({
      name: z.string(),
      ask: z.strictObject({
        organization: z.string().default('acme'),
        kind: z.enum(['agent', 'person']).default('agent'),
        role: z.string().optional(),
        user: z.string().optional(),
        task: z.string().optional(),
        credential: z.string(),
        source_ip: z.string().default('192.0.2.1'),
        ttl_seconds: z.int().default(300),
        justification: z.boolean().default(false),
        now_hour: z.int().default(12),
      }),
      expect: z.strictObject({ decision: z.enum(['allow', 'deny']), by: z.array(z.string()) }),
    }),
  ),
});

const { document, cases } = Cases.parse(
  parse(readFileSync(new URL('./decisions.spec.yaml', import.meta.url), 'utf8')),
);

function compiled(text: string): { configuration: Configuration; evaluator: PolicyEvaluator } {
  const parsed = parseConfiguration(text);
  if (parsed.outcome !== 'ok') throw new Error(JSON.stringify(parsed.problems));
  return { configuration: parsed.configuration, evaluator: PolicyEvaluator.compile(parsed.configuration) };
}

function question(
  configuration: Configuration,
  organization: string,
  name: string,
  rest: Partial<PolicyQuestion>,
): PolicyQuestion {
  const credential = configuration.credential(organization, name);
  if (!credential) throw new Error(`no credential ${name}`);
  return {
    organization,
    agentId: `spiffe://${organization}.example/agent/ci/task/1`,
    kind: 'agent',
    credential,
    context: { source_ip: '192.0.2.1', ttl_seconds: 300, justification_given: false, now_hour: 12 },
    ...rest,
  };
}

const { configuration, evaluator } = compiled(document);

describe('decisions', () => {
  it.each(cases)('$name: $expect.decision', ({ ask, expect: { decision, by } }) => {
    const answer = evaluator.evaluate(
      question(configuration, ask.organization, ask.credential, {
        kind: ask.kind,
        ...(ask.role !== undefined && { agentRole: ask.role }),
        ...(ask.user !== undefined && { user: ask.user }),
        ...(ask.task !== undefined && { task: ask.task }),
        context: {
          source_ip: ask.source_ip,
          ttl_seconds: ask.ttl_seconds,
          justification_given: ask.justification,
          now_hour: ask.now_hour,
        },
      }),
    );
    expect({ decision: answer.decision, by: answer.policyIds }).toEqual({ decision, by });
    expect(answer.reason).not.toBe('');
  });

  it('denies a credential of another organization, of the same name too', () => {
    const asked = question(configuration, 'acme', 'db/read', { agentRole: 'analyst' });
    expect(evaluator.evaluate(asked).decision).toBe('allow');
    expect(evaluator.evaluate({ ...asked, organization: 'globex' }).decision).toBe('deny');
    expect(evaluator.evaluate({ ...asked, organization: 'nobody' }).decision).toBe('deny');
  });

  it('denies a credential of another version of the document', () => {
    const other = compiled(document).configuration;
    const asked = question(other, 'acme', 'db/read', { agentRole: 'analyst' });
    expect(evaluator.evaluate(asked).decision).toBe('deny');
  });
});
