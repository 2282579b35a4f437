import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { canonicalAddress, SourceIp } from './source-address.ts';

describe('the canonical address', () => {
  it.each([
    ['203.0.113.7', '203.0.113.7'],
    ['203.0.113.7:5678', '203.0.113.7'],
    ['::ffff:203.0.113.7', '203.0.113.7'],
    ['::FFFF:203.0.113.7', '203.0.113.7'],
    ['::ffff:cb00:7107', '203.0.113.7'],
    ['0:0:0:0:0:ffff:203.0.113.7', '203.0.113.7'],
    ['0000:0000:0000:0000:0000:FFFF:CB00:7107', '203.0.113.7'],
    ['[::ffff:203.0.113.7]:443', '203.0.113.7'],
    ['::ffff:203.0.113.7%eth0', '203.0.113.7'],
    ['::1', '::1'],
    ['[::1]', '::1'],
    ['[::1]:80', '::1'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['2001:0DB8:0000:0000:0001:0000:0000:0001', '2001:db8::1:0:0:1'],
    ['[2001:DB8::1]:65535', '2001:db8::1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['[fe80::1%25eth0]:80', 'fe80::1'],
    ['64:ff9b::192.0.2.1', '64:ff9b::c000:201'],
  ])('of %s is %s', (written, canonical) => {
    expect(canonicalAddress(written)).toBe(canonical);
  });

  it.each([
    '',
    'unknown',
    '_hidden',
    'localhost',
    '203.0.113',
    '203.0.113.256',
    '203.0.113.07',
    '0313.0.113.7',
    '0xcb.0.113.7',
    '3405803783',
    '203.0.113.7:',
    '203.0.113.7:123456',
    '203.0.113.7%eth0',
    '203.0.113.7, 203.0.113.8',
    ' 203.0.113.7',
    '[203.0.113.7]',
    '1::2::3',
    ':::1',
    '::1]',
    '[::1',
    '[::1]:',
    '[::1]80',
    '::1%',
    '::g',
    '::ffff:203.0.113.07',
    '::1/64',
    '::1]/@[::2',
    '::1\n',
  ])('is none of "%s"', (written) => {
    expect(canonicalAddress(written)).toBeUndefined();
  });

  it('is its own canonical form, whatever is written', () => {
    const group = fc.integer({ min: 0, max: 0xffff });
    fc.assert(
      fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), fc.boolean(), (groups, upper) => {
        const text = groups.map((value) => value.toString(16).padStart(4, '0')).join(':');
        const canonical = canonicalAddress(upper ? text.toUpperCase() : text);
        expect(canonical).toBe(canonicalAddress(canonical ?? ''));
        expect(canonical).toBe(canonicalAddress(`[${text}]:1`));
      }),
    );
    fc.assert(
      fc.property(fc.string(), (written) => {
        const canonical = canonicalAddress(written);
        if (canonical !== undefined) expect(canonicalAddress(canonical)).toBe(canonical);
      }),
    );
  });
});

describe('the address that contracts take', () => {
  it('has its canonical form, and no other', () => {
    for (const good of ['203.0.113.7', '2001:db8::1', '::1']) expect(SourceIp.parse(good)).toBe(good);
    for (const bad of ['::ffff:203.0.113.7', '2001:DB8::1', '203.0.113.7:80', '[::1]', 'fe80::1%eth0', 'x'])
      expect(SourceIp.safeParse(bad).success).toBe(false);
  });
});
