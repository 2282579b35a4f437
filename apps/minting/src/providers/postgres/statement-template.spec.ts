import { describe, expect, it } from '@jest/globals';
import { ProviderRejected } from '../provider-error.ts';
import { placeholdersOf, renderStatement } from './statement-template.ts';

const values = {
  name: 'mayfly_1',
  group: 'mayfly_scope_1',
  verifier: 'SCRAM-SHA-256$1:a$b:c',
  expiration: '2026-11-20',
};

describe('renderStatement', () => {
  it('puts identifiers and literals in, quoted', () => {
    expect(
      renderStatement(
        'CREATE ROLE {{name}} LOGIN PASSWORD {{ verifier }} VALID UNTIL {{expiration}} IN ROLE {{group}};',
        values,
      ),
    ).toBe(
      `CREATE ROLE "mayfly_1" LOGIN PASSWORD 'SCRAM-SHA-256$1:a$b:c' VALID UNTIL '2026-11-20' IN ROLE "mayfly_scope_1";`,
    );
  });

  it('quotes values that try to get out', () => {
    const hostile = { name: 'a"; DROP ROLE b; --', expiration: "'; DROP ROLE b; --\\" };
    expect(renderStatement('ALTER ROLE {{name}} VALID UNTIL {{expiration}}', hostile)).toBe(
      `ALTER ROLE "a""; DROP ROLE b; --" VALID UNTIL  E'''; DROP ROLE b; --\\\\'`,
    );
  });

  it.each([
    ['a literal', "SELECT '{{name}}'"],
    ['a literal after an escaped quote', "SELECT 'it''s {{name}}'"],
    ['an escape string', "SELECT E'it\\'s {{name}}'"],
    ['an identifier', 'SELECT "{{name}}"'],
    ['a dollar-quoted string', 'DO $$ BEGIN EXECUTE {{name}}; END $$'],
    ['a tagged dollar-quoted string', 'DO $x$ $y$ {{name}} $x$'],
    ['a line comment', 'SELECT 1 -- {{name}}'],
    ['a nested block comment', 'SELECT 1 /* a /* b */ {{name}} */'],
  ])('refuses a placeholder inside %s', (_, template) => {
    expect(() => renderStatement(template, values)).toThrow(ProviderRejected);
  });

  it.each([
    ['an unknown placeholder', 'DROP ROLE {{role}}'],
    ['one that has no value here', 'DROP ROLE {{constructor}}'],
    ['one that does not end', 'DROP ROLE {{name'],
    ['one glued to a word', 'DROP ROLE x{{name}}'],
    ['one glued to an escape prefix', 'SELECT E{{expiration}}'],
    ['one glued to a Unicode prefix', 'SELECT U&{{expiration}}'],
    ['two glued together', 'SELECT {{expiration}}{{expiration}}'],
    ['one with a word behind it', 'DROP ROLE {{name}}x'],
    ['a quote that does not end', "SELECT 'x"],
    ['an identifier that does not end', 'SELECT "x'],
    ['a comment that does not end', 'SELECT /* x'],
    ['a NUL', 'SELECT \0'],
  ])('refuses %s', (_, template) => {
    expect(() => renderStatement(template, values)).toThrow(ProviderRejected);
  });

  it('is not led astray by quotes inside other quotes and comments', () => {
    const template = `SELECT "it's", $$ ' " $$, 'say "', /* ' */ -- "
      {{name}}`;
    expect(renderStatement(template, values)).toBe(template.replace('{{name}}', '"mayfly_1"'));
  });

  it('ends a line comment where PostgreSQL does', () => {
    expect(() => renderStatement("-- '\r{{name}}'", values)).toThrow(ProviderRejected);
  });
});

describe('placeholdersOf', () => {
  it('names them', () => {
    expect([...placeholdersOf("GRANT {{group}} TO {{name}} -- 'x'")]).toEqual(['group', 'name']);
  });
});
