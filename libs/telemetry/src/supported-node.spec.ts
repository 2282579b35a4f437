import { describe, expect, it } from '@jest/globals';
import { assertSupportedNode } from './supported-node.ts';

describe('assertSupportedNode', () => {
  it.each(['v18.20.0', 'v20.20.0', 'nonsense'])('refuses %s with one sentence', (version) => {
    expect(() => assertSupportedNode(version)).toThrow(/^Mayfly needs Node 22 or newer, but this is .*\.$/);
  });

  it.each(['v22.15.0', 'v24.21.0'])('accepts %s', (version) => {
    expect(() => assertSupportedNode(version)).not.toThrow();
  });
});
