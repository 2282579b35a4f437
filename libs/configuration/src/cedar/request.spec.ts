import { describe, expect, it } from '@jest/globals';
import { plainAddress } from './request.ts';

describe('plainAddress', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:192.0.2.1', '192.0.2.1'],
    ['0:0:0:0:0:ffff:192.0.2.1', '192.0.2.1'],
    ['0000:0000:0000:0000:0000:ffff:c000:0201', '192.0.2.1'],
    ['::ffff:c000:201', '192.0.2.1'],
    ['2001:db8::1', '2001:db8::1'],
    ['::1', '::1'],
    ['::', '::'],
    ['2001:db8::ffff:192.0.2.1', '2001:db8::ffff:192.0.2.1'],
    ['fe80::ffff:c000:201', 'fe80::ffff:c000:201'],
    ['nonsense', 'nonsense'],
  ])('%s → %s', (address, plain) => {
    expect(plainAddress(address)).toBe(plain);
  });
});
