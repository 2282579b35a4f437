/** Key sets as real issuers publish them: what fits is tried, whatever the set says beside the keys (RFC 7517 §4, §5). */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { CompactSign, exportJWK, generateKeyPair, type CryptoKey, type JWK } from 'jose';
import { IdentityVerifier } from './identity.ts';
import { UnknownKey } from './issuer-keys.ts';
import { newKeyFolder, without, type KeyFolder } from './key-fixtures.ts';

const now = new Date('2026-11-20T12:00:00.000Z');
const epoch = now.getTime() / 1000;
const issuer = 'https://issuer.example';
const claims = { iss: issuer, aud: 'mayfly', sub: 'agent-1', iat: epoch, exp: epoch + 300 };

interface Pair {
  readonly privateKey: CryptoKey;
  readonly jwk: JWK;
}

let folder: KeyFolder;
let files = 0;
let rsa: Pair[];
let edwards: Pair;
beforeAll(async () => {
  folder = await newKeyFolder();
  rsa = await Promise.all([newPair('RS256'), newPair('RS256'), newPair('RS256')]);
  edwards = await newPair('EdDSA');
});
afterAll(() => folder.remove());

function pair(index: number): Pair {
  const found = rsa[index];
  if (found === undefined) throw new Error(`there is no key ${index}`);
  return found;
}

async function newPair(alg: 'RS256' | 'EdDSA'): Promise<Pair> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { privateKey, jwk: await exportJWK(publicKey) };
}

async function verify(
  keys: readonly JWK[],
  { header, key }: { header: { alg: string; kid?: string }; key: CryptoKey },
  algorithms?: readonly string[],
): Promise<string> {
  const file = await folder.write(`set-${files++}.json`, keys, 0o644);
  const token = await new CompactSign(new TextEncoder().encode(JSON.stringify(claims)))
    .setProtectedHeader(header)
    .sign(key);
  const rule = { issuer, audience: 'mayfly', jwks: { file }, ...(algorithms && { algorithms }) };
  return new IdentityVerifier({ checkEverySeconds: 0 }).verify(token, [rule], { now }).then(
    () => 'accepted',
    (error: unknown) => {
      if (error instanceof UnknownKey) return 'unknown key';
      return error instanceof Error && 'code' in error ? String(error.code) : String(error);
    },
  );
}

describe('a JWK set with several keys that fit', () => {
  it.each([0, 1, 2])('tries all of them for a token without a kid (key %i)', async (which) => {
    const { privateKey } = pair(which);
    const keys = rsa.map(({ jwk }, index) => ({ ...jwk, kid: `k${index}`, alg: 'RS256' }));
    expect(await verify(keys, { header: { alg: 'RS256' }, key: privateKey })).toBe('accepted');
    const bare = rsa.map(({ jwk }) => jwk);
    expect(await verify(bare, { header: { alg: 'RS256' }, key: privateKey })).toBe('accepted');
  });

  it.each([0, 1])('tries both when one kid stands twice (key %i)', async (which) => {
    const keys = rsa.slice(0, 2).map(({ jwk }) => ({ ...jwk, kid: 'same', use: 'sig' }));
    const token = { header: { alg: 'RS256', kid: 'same' }, key: pair(which).privateKey };
    expect(await verify(keys, token)).toBe('accepted');
  });

  it('refuses a token that none of them has signed', async () => {
    const keys = rsa.slice(0, 2).map(({ jwk }) => ({ ...jwk, kid: 'same' }));
    const forged = { header: { alg: 'RS256', kid: 'same' }, key: pair(2).privateKey };
    expect(await verify(keys, forged)).toBe('unauthenticated');
    expect(await verify(keys, { ...forged, header: { alg: 'RS256' } })).toBe('unauthenticated');
  });

  it('tries 16 at most: a token without a kid costs bounded work', async () => {
    const others = Array.from({ length: 16 }, () => pair(0).jwk);
    const token = { header: { alg: 'RS256' }, key: pair(1).privateKey };
    expect(await verify([...others.slice(1), pair(1).jwk], token)).toBe('accepted');
    expect(await verify([...others, pair(1).jwk], token)).toBe('unauthenticated');
  });

  it('looks past keys of kinds and uses that do not fit', async () => {
    const odd = [
      { kty: 'AKP', alg: 'ML-DSA-44', pub: 'AA' },
      { kty: 'unheard-of' },
      { ...pair(1).jwk, use: 'enc' },
    ];
    const token = { header: { alg: 'RS256' }, key: pair(0).privateKey };
    expect(await verify([...odd, pair(0).jwk], token)).toBe('accepted');
  });
});

describe('an Ed25519 key', () => {
  const names = ['EdDSA', 'Ed25519'];
  it.each(
    names.flatMap((inToken) =>
      [...names, undefined].map((inSet): [string, string | undefined] => [inToken, inSet]),
    ),
  )(
    'verifies a token that says %s when the set says %s, under a rule that names either',
    async (inToken, inSet) => {
      const key = inSet === undefined ? edwards.jwk : { ...edwards.jwk, alg: inSet };
      const token = { header: { alg: inToken, kid: 'ed' }, key: edwards.privateKey };
      for (const algorithms of [undefined, ['EdDSA'], ['Ed25519']]) {
        expect(await verify([{ ...key, kid: 'ed' }], token, algorithms)).toBe('accepted');
      }
      expect(await verify([{ ...key, kid: 'ed' }], token, ['ES256', 'RS256'])).toBe('unauthenticated');
    },
  );
});

describe('a key that is not there yet', () => {
  it('is retryable, and found once it is there', async () => {
    const token = { header: { alg: 'RS256', kid: 'new' }, key: pair(1).privateKey };
    const before = [{ ...pair(0).jwk, kid: 'old' }];
    expect(await verify(before, token)).toBe('unknown key');
    expect(await verify([...before, { ...pair(1).jwk, kid: 'new' }], token)).toBe('accepted');
    expect(new UnknownKey(undefined).code).toBe('dependency_unavailable');
  });

  it('is no such key when the token names none', async () => {
    const token = { header: { alg: 'EdDSA' }, key: edwards.privateKey };
    expect(await verify([without(pair(0).jwk, 'kid')], token)).toBe('unauthenticated');
  });
});
