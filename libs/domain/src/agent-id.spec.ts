import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { agentId, orchestrationOf, personId } from './agent-id.ts';

const name = { orchestration: 'ci', task: 'deploy-42', instance: 'agent_1.a' };

describe('agentId', () => {
  it('puts the parts into the path', () => {
    expect(agentId('acme.example', name)).toBe('spiffe://acme.example/agent/ci/deploy-42/agent_1.a');
  });

  const refused = [
    '',
    '.',
    '..',
    'a/b',
    'a b',
    'é',
    'a\n',
    'a\0',
    '%2e',
    'a?b',
    'a#b',
    'a@b',
    'x'.repeat(129),
  ];
  it.each(refused)('refuses %j as any part', (part) => {
    expect(agentId('acme.example', { ...name, orchestration: part })).toBeUndefined();
    expect(agentId('acme.example', { ...name, task: part })).toBeUndefined();
    expect(agentId('acme.example', { ...name, instance: part })).toBeUndefined();
  });

  it('has exactly three segments after /agent, whatever the claims hold', () => {
    const part = fc.oneof(fc.string(), fc.stringMatching(/^[a-z./-]{0,12}$/));
    fc.assert(
      fc.property(part, part, part, (orchestration, task, instance) => {
        const id = agentId('acme.example', { orchestration, task, instance });
        if (id === undefined) return;
        expect(new URL(id).pathname.split('/')).toEqual(['', 'agent', orchestration, task, instance]);
      }),
    );
  });
});

describe('orchestrationOf', () => {
  it('is the orchestration of whatever ID an agent can have', () => {
    const part = fc.stringMatching(/^[A-Za-z0-9._-]{1,12}$/);
    fc.assert(
      fc.property(part, part, part, (orchestration, task, instance) => {
        const id = agentId('acme.example', { orchestration, task, instance });
        if (id !== undefined) expect(orchestrationOf(id)).toBe(orchestration);
      }),
    );
  });

  it.each([
    'spiffe://acme.example/person/ada',
    'spiffe://acme.example/agent/ci/build',
    'spiffe://acme.example/agent/ci/build/1/2',
    'spiffe://acme.example/agent/../build/1',
    'spiffe://acme.example/agent//build/1',
    'spiffe:///agent/ci/build/1',
    'https://acme.example/agent/ci/build/1',
    'spiffe://acme.example/agent/ci/build/1\n',
    '',
  ])('is none for %j', (id) => {
    expect(orchestrationOf(id)).toBeUndefined();
  });
});

describe('personId', () => {
  it.each([
    ['ada', 'spiffe://acme.example/person/ada'],
    ['ada@example.com', 'spiffe://acme.example/person/ada.at.example.com'],
    ['bob@at.example', 'spiffe://acme.example/person/bob.at.at.example'],
    ['ada.at.example.com', undefined],
    ['bob.at@example', undefined],
    ['a@b@c', undefined],
    ['', undefined],
    ['..', undefined],
    ['a/b', undefined],
  ])('%j → %s', (person, expected) => {
    expect(personId('acme.example', person)).toBe(expected);
  });

  it('never gives two people the same ID', () => {
    const person = fc
      .array(fc.constantFrom('a', 't', '@', '.', '.at.'), { maxLength: 6 })
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(person, person, (a, b) => {
        const id = personId('acme.example', a);
        if (id !== undefined && a !== b) expect(personId('acme.example', b)).not.toBe(id);
      }),
      { numRuns: 2000 },
    );
  });
});
