import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { visible, visibleJson, visibleLines } from './visible.ts';

const hostile =
  '\u0000\u0007\b\t\n\r\u001b\u007f\u0085\u009b\u00ad\u061c\u200b\u200d\u200e\u2028\u202e\u2066\ufeff\u{e0041}\ud800';
const seen = /^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]*$/u;

describe('what is made visible', () => {
  it('has an escape for whatever steers a terminal or is not seen', () => {
    expect(visible(`a${hostile}b`)).toBe(
      String.raw`a\u0000\u0007\u0008\t\n\r\u001b\u007f\u0085\u009b\u00ad\u061c\u200b\u200d\u200e\u2028\u202e\u2066\ufeff\udb40\udc41\ud800b`,
    );
    expect(visible('café ß 漢字 🙂 §')).toBe('café ß 漢字 🙂 §');
    expect(visibleLines('a\u001b\nb\r\n')).toBe('a\\u001b\nb\\r\n');
  });

  it('is the same value as JSON, whatever it is', () => {
    const text = fc.string({ unit: fc.oneof(fc.constantFrom(...hostile), fc.string({ unit: 'binary' })) });
    fc.assert(
      fc.property(fc.dictionary(text, fc.jsonValue({ stringUnit: 'binary' })), text, (fields, more) => {
        const value = JSON.parse(JSON.stringify({ fields, more })) as unknown;
        const [line, pretty] = [visibleJson(value), visibleJson(value, 2)];
        expect(line).toMatch(seen);
        expect(pretty.replaceAll('\n', '')).toMatch(seen);
        expect([JSON.parse(line), JSON.parse(pretty)]).toEqual([value, value]);
      }),
    );
  });
});
