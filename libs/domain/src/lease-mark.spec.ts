import { describe, expect, it } from '@jest/globals';
import { hasMark, leaseMark, madeAt, withMark } from './lease-mark.ts';

describe('the mark of a lease id', () => {
  const uuid = '01890a5d-ac96-774b-bcce-b302099a8057';

  it('is of one installation, organization and integration, and of no other', () => {
    const marks = [
      leaseMark('one', 'acme', 'db'),
      leaseMark('two', 'acme', 'db'),
      leaseMark('one', 'globex', 'db'),
      leaseMark('one', 'acme', 'other'),
      leaseMark('one', 'acm', 'edb'),
    ];
    expect(new Set(marks).size).toBe(5);
    expect(leaseMark('one', 'acme', 'db')).toBe(marks[0]);
  });

  it('leaves a UUIDv7 of the same time', () => {
    const marked = withMark(uuid, leaseMark('one', 'acme', 'db'));
    expect(marked).toMatch(/^01890a5d-ac96-774b-bcce-b3[0-9a-f]{10}$/);
    expect(madeAt(marked)).toBe(madeAt(uuid));
    expect(hasMark(marked, leaseMark('one', 'acme', 'db'))).toBe(true);
    expect(hasMark(marked, leaseMark('two', 'acme', 'db'))).toBe(false);
  });
});
