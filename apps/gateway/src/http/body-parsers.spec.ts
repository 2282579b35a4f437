import { describe, expect, it } from '@jest/globals';
import { MayflyError } from '@mayfly/contracts';
import fc from 'fast-check';
import { nestsDeeperThan } from '@mayfly/domain';
import { parseForm, parseJson } from './body-parsers.ts';

describe('JSON bodies', () => {
  it('are parsed as JSON.parse would, whatever they hold', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        const text = JSON.stringify(value);
        fc.pre(!text.includes('"__proto__"'));
        expect(parseJson(text)).toEqual(JSON.parse(text));
      }),
    );
  });

  it('are refused when nested too deep, before they are parsed', () => {
    expect(() => parseJson('['.repeat(200_000))).toThrow(MayflyError);
  });

  it('may have brackets inside strings', () => {
    expect(nestsDeeperThan('{"a":"[[[[[\\"[[["}', 2)).toBe(false);
  });

  it.each(['', '{', 'nonsense', '{"a":1}x', "{'a':1}"])('are refused when they are not JSON: %s', (body) => {
    expect(() => parseJson(body)).toThrow('not JSON');
  });

  it('are refused when a key would reach a prototype', () => {
    expect(() => parseJson('{"scope":{"__proto__":{"admin":true}}}')).toThrow(MayflyError);
  });
});

describe('form bodies', () => {
  it('are read by RFC 6749: an empty parameter counts as left out', () => {
    expect(parseForm('grant_type=x&scope=&a=b%20c+d')).toEqual({ grant_type: 'x', a: 'b c d' });
  });

  it('are refused when a parameter is repeated', () => {
    expect(() => parseForm('token=a&token=b')).toThrow('more than once');
  });

  it('are refused when there are too many parameters', () => {
    expect(() => parseForm(Array.from({ length: 100 }, (_, i) => `p${i}=1`).join('&'))).toThrow('too many');
  });
});
