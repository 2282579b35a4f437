import { describe, expect, it } from '@jest/globals';
import { Act, AskedAct } from './assertion.ts';

describe('an act', () => {
  const revoke = { action: 'revoke', subject: { kind: 'user', id: 'ann' }, reason: 'leak' };
  const ordered = { ...revoke, revocation_id: '0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21' };

  it('that revokes gets its id from policy alone', () => {
    expect(AskedAct.safeParse(revoke).success).toBe(true);
    expect(AskedAct.safeParse(ordered).success).toBe(false);
    expect(Act.safeParse(revoke).success).toBe(true);
    expect(Act.safeParse(ordered).success).toBe(true);
  });
});
