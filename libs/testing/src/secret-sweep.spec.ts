import { describe, expect, it } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { sweep } from './secret-sweep.ts';

describe('the sweep', () => {
  const value = randomBytes(24).toString('base64url');
  const secrets = [{ name: 'password', value }];
  const finds = (content: string | Buffer) =>
    sweep(secrets, [{ name: 'place', content: Buffer.from(content) }]).length > 0;

  it.each([
    ['as it is', (v: string) => `x${v}y`],
    ['in base64', (v: string) => Buffer.from(v).toString('base64')],
    ['in base64url', (v: string) => Buffer.from(v).toString('base64url')],
    ['in base64 behind one byte', (v: string) => Buffer.from(`a${v}zzz`).toString('base64')],
    ['in base64 behind two bytes', (v: string) => Buffer.from(`ab${v}zz`).toString('base64')],
    [
      'in base64url behind 31 bytes of JSON',
      (v: string) => Buffer.from(`{"username":"mayfly_1","secret":"${v}"}`).toString('base64url'),
    ],
    ['in hex', (v: string) => Buffer.from(v).toString('hex')],
    ['in a URL', (v: string) => `postgres://u:${encodeURIComponent(v)}@h/d`],
  ])('finds a secret %s', (_name, hide) => {
    expect(finds(hide(value))).toBe(true);
  });

  it('finds a secret in UTF-16', () => {
    expect(finds(Buffer.from(`..${value}..`, 'utf16le'))).toBe(true);
  });

  it('finds nothing where nothing is', () => {
    expect(finds(randomBytes(100_000))).toBe(false);
  });

  it('finds which of thousands it is, and where', () => {
    const thousands = Array.from({ length: 5_000 }, (_, index) => ({
      name: `password ${String(index)}`,
      value: randomBytes(24).toString('base64url'),
    }));
    const hidden = thousands[4_321]?.value ?? '';
    const places = ['first', 'second'].map((name) => ({
      name,
      content: Buffer.concat([randomBytes(50_000), Buffer.from(name === 'second' ? hidden : '')]),
    }));
    expect(sweep(thousands, places)).toEqual([
      { secret: 'password 4321', place: 'second', encoding: 'raw' },
      { secret: 'password 4321', place: 'second', encoding: 'URL-encoded' },
      { secret: 'password 4321', place: 'second', encoding: 'JSON in JSON' },
    ]);
  });

  it('refuses to look for what is too short to mean anything', () => {
    expect(() => sweep([{ name: 'pin', value: '1234' }], [])).toThrow('too short');
  });
});
