import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { RecipientKey } from '@mayfly/contracts';
import { Sealed } from '@mayfly/contracts';
import { compactDecrypt, CompactEncrypt, decodeProtectedHeader, importJWK, type JWK } from 'jose';
import { fingerprint } from './fingerprint.ts';
import {
  newKeyFolder,
  newSealingJwk,
  newSigningJwk,
  publicPartOf,
  without,
  type KeyFolder,
} from './key-fixtures.ts';
import { generateSealingKeyPair, loadSealingKey, loadSealingPublicKey, sealTo } from './sealing.ts';

const refused = { code: 'invalid_request' };
let folder: KeyFolder;
beforeAll(async () => {
  folder = await newKeyFolder();
});
afterAll(() => folder.remove());

describe('sealTo', () => {
  it.each(['X25519', 'P-256'] as const)('seals an object to %s as JSON with cty json', async (crv) => {
    const jwk = await newSealingJwk('k', crv);
    const jwe = await sealTo(publicPartOf(jwk) as RecipientKey, { password: 's3cret' });
    expect(Sealed.safeParse(jwe).success).toBe(true);
    expect(decodeProtectedHeader(jwe)).toMatchObject({
      alg: 'ECDH-ES',
      enc: 'A256GCM',
      kid: 'k',
      cty: 'json',
    });
    const { plaintext } = await compactDecrypt(jwe, await importJWK(jwk, 'ECDH-ES'));
    expect(new TextDecoder().decode(plaintext)).toBe('{"password":"s3cret"}');
  });

  it('makes another seal each time', async () => {
    const { publicJwk } = await generateSealingKeyPair();
    expect(await sealTo(publicJwk, 'x')).not.toBe(await sealTo(publicJwk, 'x'));
  });

  it('refuses a private key, a signature key, a point off the curve and a point of small order', async () => {
    const keys: object[] = [
      await newSealingJwk('k'),
      publicPartOf(await newSigningJwk('k')),
      { kty: 'EC', crv: 'P-256', x: 'A'.repeat(43), y: 'A'.repeat(43) },
      { kty: 'OKP', crv: 'X25519', x: 'A'.repeat(43) },
    ];
    for (const key of keys) await expect(sealTo(key as RecipientKey, 'x')).rejects.toMatchObject(refused);
  });

  it('refuses what would be too large for the bus', async () => {
    const { publicJwk } = await generateSealingKeyPair();
    await expect(sealTo(publicJwk, 'x'.repeat(131_072))).rejects.toMatchObject(refused);
  });
});

describe('a one-time key pair', () => {
  it('opens what was sealed to it and nothing else', async () => {
    const pair = await generateSealingKeyPair();
    const other = await generateSealingKeyPair();
    const jwe = await sealTo(pair.publicJwk, 'töken');
    expect(await pair.open(jwe)).toBe('töken');
    await expect(other.open(jwe)).rejects.toMatchObject(refused);
    expect(Object.keys(pair.publicJwk).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x']);
  });

  it.each(['', 'a.b.c', 'a..b.c.d', 'e30..AA.AA.AA', 'x'.repeat(200_000)])(
    'refuses what is no JWE (%#)',
    async (jwe) => {
      const { open } = await generateSealingKeyPair();
      await expect(open(jwe)).rejects.toMatchObject(refused);
    },
  );

  it('refuses a seal with any part altered, another algorithm or a compressed payload', async () => {
    const { publicJwk, open } = await generateSealingKeyPair();
    const parts = (await sealTo(publicJwk, 'a secret that is long enough')).split('.');
    for (const index of [0, 2, 3, 4]) {
      const altered = parts.map((part, at) => (at === index ? flipFirst(part) : part)).join('.');
      await expect(open(altered)).rejects.toMatchObject(refused);
    }
    const key = await importJWK(publicJwk as JWK, 'ECDH-ES');
    const seal = (header: object) =>
      new CompactEncrypt(new TextEncoder().encode('x'))
        .setProtectedHeader({ alg: 'ECDH-ES', enc: 'A256GCM', ...header })
        .encrypt(key);
    expect(await open(await seal({}))).toBe('x');
    await expect(open(await seal({ enc: 'A128GCM' }))).rejects.toMatchObject(refused);
    await expect(open(await seal({ alg: 'ECDH-ES+A256KW' }))).rejects.toMatchObject(refused);
    await expect(open(await seal({ zip: 'DEF' }))).rejects.toMatchObject(refused);
    await expect(open(await seal({ kid: 'unknown' }))).rejects.toMatchObject(refused);
  });
});

describe('sealing keys from files', () => {
  it('open by kid, and without a kid try each key', async () => {
    const [first, second] = [await newSealingJwk('1'), await newSealingJwk('2')];
    const key = await loadSealingKey(await folder.write('sealing.json', [first, second]));
    const toSecond = publicPartOf(second) as RecipientKey;
    expect(await key.open(await sealTo(toSecond, 'named'))).toBe('named');
    const nameless = without(toSecond, 'kid') as RecipientKey;
    expect(await key.open(await sealTo(nameless, 'nameless'))).toBe('nameless');
    await expect(key.open(await sealTo({ ...toSecond, kid: '1' }, 'x'))).rejects.toMatchObject(refused);
  });

  it('seal to the first key of the public file', async () => {
    const [first, second] = [await newSealingJwk('1'), await newSealingJwk('2')];
    const path = await folder.write('public.json', [first, second].map(publicPartOf), 0o644);
    expect(await loadSealingPublicKey(path)).toEqual(publicPartOf(first));
  });

  it('are refused when others can read them, or when a public file has a private part', async () => {
    const jwk = await newSealingJwk('1');
    await expect(loadSealingKey(await folder.write('open.json', [jwk], 0o644))).rejects.toThrow(/chmod 600/);
    const leak = await folder.write('leak.json', [jwk]);
    await expect(loadSealingPublicKey(leak)).rejects.toThrow(/private key/);
    await folder.write('leak.json', [publicPartOf(jwk)]);
    await expect(loadSealingPublicKey(leak)).resolves.toMatchObject({ kid: '1' });
  });
});

it('fingerprint is the SHA-256 of the secret in hex', () => {
  const sha256 = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
  expect(fingerprint('password', 'abc')).toEqual({ part: 'password', sha256 });
});

function flipFirst(part: string): string {
  return (part.startsWith('A') ? 'B' : 'A') + part.slice(1);
}
