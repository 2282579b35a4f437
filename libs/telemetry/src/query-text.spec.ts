import { describe, expect, it } from '@jest/globals';
import { queryVerb, redactQueryText } from './query-text.ts';

describe('redactQueryText', () => {
  it('leaves a parameterised statement as it is', () => {
    const text = 'SELECT "state" FROM leases WHERE id = $1 AND due <= now() FOR UPDATE SKIP LOCKED';
    expect(redactQueryText(text)).toBe(text);
  });

  it.each([
    `ALTER ROLE "x" PASSWORD 'SCRAM-SHA-256$4096:c2FsdA==$a:b'`,
    `create role y password 'hunter2'`,
    `CREATE USER MAPPING FOR x OPTIONS (password 'hunter2')`,
    `UPDATE t SET v = 'md5d41d8cd98f00b204e9800998ecf8427e'`,
  ])('shows the verb only of %p', (text) => {
    expect(redactQueryText(text)).toBe(`${queryVerb(text)} [redacted]`);
  });

  it.each([
    [`SELECT 'hunter2'`, `SELECT '?'`],
    [`SELECT 'it''s hunter2', 1`, `SELECT '?', 1`],
    [String.raw`SELECT E'a\'hunter2', 1`, `SELECT '?', 1`],
    [`SELECT "o'brien", 'hunter2', 2`, `SELECT "o'brien", '?', 2`],
    [`SELECT 1 -- don't\n, 'hunter2'`, `SELECT 1 \n, '?'`],
    [`SELECT /* don't */ 'hunter2'`, `SELECT  '?'`],
    ['DO $$ hunter2 $$', `DO '?'`],
    ['DO $x$ hunter2 $$ hunter2 $x$ LANGUAGE sql', `DO '?' LANGUAGE sql`],
    [`SELECT 'hunter2`, `SELECT '?'`],
    [`SELECT $1, 'hunter2', $2`, `SELECT $1, '?', $2`],
  ])('replaces the literals of %p', (text, safe) => {
    expect(redactQueryText(text)).toBe(safe);
  });

  it('stays fast and bounded on a long statement', () => {
    for (const piece of ["'", '$', '"', '/*', '-', 'e\\']) {
      expect(redactQueryText(piece.repeat(1_000_000)).length).toBeLessThanOrEqual(6_000);
    }
  });
});

describe('queryVerb', () => {
  it.each([
    ['\n  select 1', 'SELECT'],
    ["SELECT'hunter2'", 'SELECT'],
    ['(SELECT 1)', 'SELECT'],
    ['', 'QUERY'],
    ["'hunter2'", 'QUERY'],
  ])('reads %p as %s', (text, verb) => {
    expect(queryVerb(text)).toBe(verb);
  });
});
