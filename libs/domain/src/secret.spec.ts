import { format, inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { Secret } from './secret.ts';

describe('Secret', () => {
  const secret = new Secret('hunter2');

  it.each([
    ['String()', () => String(secret)],
    ['a template', () => `${secret as unknown as string}`],
    ['JSON', () => JSON.stringify({ secret })],
    ['the inspector', () => inspect({ deep: { secret } }, { showHidden: true, depth: 9 })],
    ['format', () => format('%s %o %j', secret, secret, secret)],
    ['its own keys', () => Object.entries(secret).flat().join()],
    ['a spread', () => JSON.stringify({ ...secret })],
  ])('does not show its value in %s', (_name, print) => {
    expect(print()).not.toContain('hunter2');
  });

  it('gives its value to who asks for it', () => {
    expect(secret.reveal()).toBe('hunter2');
  });
});
