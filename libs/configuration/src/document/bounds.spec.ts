import { describe, expect, it } from '@jest/globals';
import { parseConfiguration } from '../parse.ts';
import { maxDocumentBytes } from './yaml.ts';

const full = (part: string) => part.repeat(Math.floor(maxDocumentBytes / part.length));

/** Each used up the stack of the parser, which could end the process, or took seconds in which the process does nothing else. */
const bombs: readonly [name: string, document: string, message: RegExp][] = [
  ['brackets', full('['), /nested too deeply/],
  ['brackets that close', '['.repeat(390_000) + ']'.repeat(390_000), /nested too deeply/],
  ['maps in brackets', full('{a: '), /nested too deeply/],
  ['lists on one line', full('- '), /nested too deeply/],
  ['keys of keys', full('? '), /nested too deeply/],
  [
    'indentation',
    Array.from({ length: 1_200 }, (_, depth) => `${' '.repeat(depth)}a:\n`).join(''),
    /too deeply/,
  ],
  ['entries', full('- 1\n'), /too many lines, entries and signs/],
  ['empty entries', `[${full(',').slice(2)}]`, /too many lines, entries and signs/],
  ['anchors', full('&a '), /too many|not YAML/],
  ['tags', full('!x '), /too many|not YAML/],
  ['quotes', full('"'), /too many|not YAML|missing/],
];

describe('a document that asks for too much', () => {
  it.each(bombs)('is refused before it is read: %s', (_, document, message) => {
    const parsed = parseConfiguration(document);
    expect(parsed.outcome).toBe('rejected');
    if (parsed.outcome === 'rejected') expect(parsed.problems[0]?.message).toMatch(message);
  });

  it('is told where it becomes too much', () => {
    const parsed = parseConfiguration(`organizations: []\ntrust: ${'['.repeat(1_000)}`);
    expect(parsed).toMatchObject({ problems: [{ line: 2, message: 'the document is nested too deeply' }] });
  });
});
