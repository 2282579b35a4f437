import { describe, expect, it } from '@jest/globals';
import { JsonObject, maxJsonDepth, text, WellFormed } from './primitives.ts';

const accepts = (schema: { safeParse(value: unknown): { success: boolean } }, value: unknown) =>
  schema.safeParse(value).success;

describe('text', () => {
  it.each(['a', 'ä € 😀', 'x'.repeat(8), "'; DROP TABLE x; --"])('accepts %j', (value) => {
    expect(accepts(text(32), value)).toBe(true);
  });

  it.each(['', 'x'.repeat(33), 'a\u0000', 'a\nb', '\u001b[31m', '\u0085', '\ud800', 'a\udc00b'])(
    'refuses %j',
    (value) => {
      expect(accepts(text(32), value)).toBe(false);
    },
  );
});

describe('a JSON object', () => {
  it('may hold all that jsonb can store', () => {
    expect(accepts(JsonObject, { a: ['line\nbreak', '😀', 1, null, true], b: {} })).toBe(true);
  });

  it.each(['\u0000', '\ud800', '\udc00'])('holds %j neither in a value nor in a key, however deep', (bad) => {
    expect(accepts(JsonObject, { a: bad })).toBe(false);
    expect(accepts(JsonObject, { [bad]: 1 })).toBe(false);
    expect(accepts(JsonObject, { a: [{ b: [bad] }] })).toBe(false);
    expect(accepts(JsonObject, { a: [{ [`x${bad}`]: [] }] })).toBe(false);
  });

  it('is not nested deeper than it may be', () => {
    const nested = (depth: number): object => (depth === 0 ? {} : { a: nested(depth - 1) });
    expect(accepts(JsonObject, nested(maxJsonDepth - 1))).toBe(true);
    expect(accepts(JsonObject, nested(maxJsonDepth))).toBe(false);
  });
});

describe('a document', () => {
  it('is well-formed text', () => {
    expect(accepts(WellFormed, 'organizations:\n')).toBe(true);
    expect(accepts(WellFormed, '# \ud800')).toBe(false);
  });
});
