import { execFileSync } from 'node:child_process';
import { parseEnv } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { escapeField, passwordFileLines } from './password-file.ts';
import { dotenvLines, dotenvQuote, shellExports, shellQuote } from './quoting.ts';

const anyText = fc.string({ unit: 'binary', maxLength: 60 });
const nasty = fc.string({ unit: fc.constantFrom(...`'"\\\`$(){};&|<>*?#!~: \t=:%aZ0`), maxLength: 30 });
const values = fc.oneof(anyText, nasty);
// A process can't be given lone surrogates or NUL.
const shellValues = values.map((text) => text.toWellFormed().replaceAll('\0', ''));

describe('shellQuote', () => {
  it('gives a POSIX shell back just the value, for any value', () => {
    fc.assert(
      fc.property(fc.array(shellValues, { minLength: 1, maxLength: 20 }), (texts) => {
        const script = texts.map((text) => `printf '%s\\0' ${shellQuote(text)}`).join('\n');
        const printed = execFileSync('/bin/sh', ['-c', script], { encoding: 'utf8' })
          .split('\0')
          .slice(0, -1);
        expect(printed).toEqual(texts);
      }),
      { numRuns: 40 },
    );
  });

  it('makes lines that eval turns into exported variables, and runs nothing in them', () => {
    const exports = shellExports({ A: "it's $(touch /nowhere/x) `id`\nand; more", B: '' });
    const script = `eval "$1"; sh -c 'printf "%s|%s" "$A" "$B"'`;
    const printed = execFileSync('/bin/sh', ['-c', script, 'sh', exports], { encoding: 'utf8' });
    expect(printed).toBe("it's $(touch /nowhere/x) `id`\nand; more|");
  });

  it('refuses NUL, which no variable can hold', () => {
    expect(() => shellQuote('a\0b')).toThrow(/can not be written/);
  });
});

describe('dotenvQuote', () => {
  it('is read back by a .env reader as just the value, or refuses it', () => {
    fc.assert(
      fc.property(values, (text) => {
        let line: string;
        try {
          line = dotenvLines({ NAME: text, AFTER: 'x' });
        } catch {
          expect(text).toMatch(/[\0\r\n]|'/);
          return;
        }
        expect(parseEnv(line)).toEqual({ NAME: text, AFTER: 'x' });
      }),
      { numRuns: 500 },
    );
  });

  it('leaves plain values plain', () => {
    expect(dotenvQuote('mayfly_0199')).toBe('mayfly_0199');
    expect(dotenvQuote('a b')).toBe("'a b'");
    expect(dotenvQuote("it's")).toBe('"it\'s"');
  });
});

describe('password file', () => {
  it('is read back by the rules of libpq as just the fields', () => {
    const field = values.filter((text) => !/[\n\r\0]/.test(text) && text !== '');
    fc.assert(
      fc.property(fc.tuple(field, field, field, field), ([host, database, username, password]) => {
        const secret = { host: `h${host}`, port: 5432, database, username, password, url: '' };
        const line = passwordFileLines(secret).replace(/\n$/, '');
        expect(readPasswordFileLine(line)).toEqual([`h${host}`, '5432', database, username, password]);
      }),
    );
  });

  it('has a line for each host, and for a folder of sockets the one that libpq may look for instead', () => {
    const secret = { host: 'a', port: 1, database: 'd', username: 'u', password: 'p', url: '' };
    const hosts = [
      { host: 'a', port: 1 },
      { host: '::1', port: 2 },
      { host: '/run/pg', port: 3 },
      { host: '/tmp', port: 3 },
    ];
    expect(passwordFileLines({ ...secret, hosts })).toBe(
      'a:1:d:u:p\n\\:\\:1:2:d:u:p\n/run/pg:3:d:u:p\nlocalhost:3:d:u:p\n/tmp:3:d:u:p\n',
    );
  });

  it('never makes a wildcard or a comment of a value', () => {
    expect(escapeField('*')).toBe('\\*');
    expect(escapeField('#host')).toBe('\\#host');
    expect(() => escapeField('a\nb')).toThrow(/can not be written/);
  });
});

/** As fe-connect.c reads it: a backslash takes the next character as it is, a bare colon ends the field. */
function readPasswordFileLine(line: string): string[] {
  expect(line.startsWith('#')).toBe(false);
  const fields = [''];
  for (let index = 0; index < line.length; index++) {
    const character = line.charAt(index);
    if (character === ':') fields.push('');
    else fields[fields.length - 1] += character === '\\' ? line.charAt(++index) : character;
  }
  return fields;
}
