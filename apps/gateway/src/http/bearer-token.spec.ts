import { describe, expect, it } from '@jest/globals';
import { readBearerToken } from './bearer-token.ts';

describe('the Authorization header', () => {
  it('gives its bearer token, whatever the case of the scheme', () => {
    expect(readBearerToken('Bearer a.b-c_d.e')).toBe('a.b-c_d.e');
    expect(readBearerToken('bearer abc')).toBe('abc');
  });

  it.each([
    undefined,
    '',
    'Bearer',
    'Bearer ',
    'Basic abc',
    'Bearer a b',
    'Bearer a\nb',
    'Bearer "abc"',
    `Bearer ${'a'.repeat(20_000)}`,
  ])('is refused as unauthenticated: %s', (header) => {
    expect(() => readBearerToken(header)).toThrow('unauthenticated');
  });
});
