/** What Mayfly writes and reads itself, held against jose as an independent peer and against the examples of the RFCs. */
import { createPublicKey, createSecretKey, diffieHellman } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { RecipientKey } from '@mayfly/contracts';
import { compactDecrypt, CompactEncrypt, compactVerify, CompactSign, importJWK, type JWK } from 'jose';
import { HandleBox } from './handle.ts';
import { decryptAgreed, encryptTo, parseJwe } from './jwe.ts';
import { importJwk } from './jwk.ts';
import { isSignedWith, parseJws, signJws } from './jws.ts';
import { concatKdf, generateAgreementKey, importAgreementKey } from './key-agreement.ts';
import {
  newKeyFolder,
  newSealingJwk,
  newSecretJwk,
  newSigningJwk,
  publicPartOf,
  type KeyFolder,
} from './key-fixtures.ts';
import { loadSigningKeys } from './keys.ts';
import { generateSealingKeyPair, sealTo } from './sealing.ts';
import { signToolToken, verifyToolToken } from './tool-token.ts';

const now = new Date('2026-11-20T12:00:00.000Z');
const iat = now.getTime() / 1000;
const bytes = (text: string) => new TextEncoder().encode(text);
const text = (of: Uint8Array) => new TextDecoder().decode(of);
const members = new Set(['alg', 'enc', 'epk', 'kid']);

let folder: KeyFolder;
beforeAll(async () => {
  folder = await newKeyFolder();
});
afterAll(() => folder.remove());

function keyOf(jwk: JWK) {
  const key = importJwk(jwk as Parameters<typeof importJwk>[0]);
  if (key === undefined) throw new Error('not a key');
  return key;
}

describe.each(['EdDSA', 'ES256'] as const)('JWS with %s', (alg) => {
  const claims = {
    jti: '01932b6e-0000-7000-8000-000000000001',
    sub: 'spiffe://acme.example/agent/o/t/i',
    scope: 'read:table:orders',
    organization: 'acme',
  };
  const use = { issuer: 'https://mayfly.example', audience: 'https://tool.example', now };

  it('that Mayfly signed verifies with jose', async () => {
    const jwk = await newSigningJwk('k', alg);
    const keys = await loadSigningKeys(await folder.write(`${alg}-ours.json`, [jwk]));
    const token = await signToolToken(keys, claims, { ...use, ttlSeconds: 60 });
    const verified = await compactVerify(token, await importJWK(publicPartOf(jwk), alg));
    expect(verified.protectedHeader).toEqual({ alg, kid: 'k', typ: 'at+jwt' });
    expect(JSON.parse(text(verified.payload))).toEqual({
      ...claims,
      iss: use.issuer,
      aud: use.audience,
      iat,
      exp: iat + 60,
    });
  });

  it('that jose signed verifies with Mayfly', async () => {
    const jwk = await newSigningJwk('k', alg);
    const keys = await loadSigningKeys(await folder.write(`${alg}-theirs.json`, [jwk]));
    const payload = { ...claims, iss: use.issuer, aud: use.audience, iat, exp: iat + 60 };
    const token = await new CompactSign(bytes(JSON.stringify(payload)))
      .setProtectedHeader({ alg, kid: 'k', typ: 'at+jwt' })
      .sign(await importJWK(jwk, alg));
    expect(await verifyToolToken(keys, token, use)).toMatchObject(claims);
  });
});

describe.each(['X25519', 'P-256'] as const)('JWE to %s', (crv) => {
  it('that Mayfly sealed opens with jose', async () => {
    const jwk = await newSealingJwk('k', crv);
    const key = await importJWK(jwk, 'ECDH-ES');
    for (const payload of ['x', 'töken \u{1F511}', '\uFEFFmarked', 'y'.repeat(50_000)]) {
      const jwe = await sealTo(publicPartOf(jwk) as RecipientKey, payload);
      const { plaintext, protectedHeader } = await compactDecrypt(jwe, key);
      expect(Buffer.from(plaintext)).toEqual(Buffer.from(payload));
      expect(protectedHeader).toMatchObject({ alg: 'ECDH-ES', enc: 'A256GCM', kid: 'k', epk: { crv } });
      expect(protectedHeader['epk']).not.toHaveProperty('d');
    }
  });

  it('that jose sealed opens with Mayfly', async () => {
    const jwk = await newSealingJwk('k', crv);
    const jwe = await new CompactEncrypt(bytes('töken'))
      .setProtectedHeader({ alg: 'ECDH-ES', enc: 'A256GCM', kid: 'k' })
      .encrypt(await importJWK(publicPartOf(jwk), 'ECDH-ES'));
    const parsed = parseJwe(jwe);
    expect(parsed && decryptAgreed(keyOf(jwk), parsed, members)).toBe('töken');
  });

  it('opens with no key of the other curve', async () => {
    const other = generateAgreementKey(crv === 'X25519' ? 'P-256' : 'X25519');
    const jwk = await newSealingJwk('k', crv);
    const parsed = parseJwe(encryptTo(publicPartOf(jwk) as RecipientKey, {}, 'x'));
    expect(parsed && decryptAgreed(keyOf(jwk), parsed, members)).toBe('x');
    expect(parsed && decryptAgreed(other.privateKey, parsed, members)).toBeUndefined();
  });
});

it('a seal of jose with apu and apv, whose key derivation would differ, is refused', async () => {
  const { publicJwk, open } = await generateSealingKeyPair();
  const key = await importJWK(publicJwk as JWK, 'ECDH-ES');
  const jwe = await new CompactEncrypt(bytes('x'))
    .setProtectedHeader({ alg: 'ECDH-ES', enc: 'A256GCM' })
    .setKeyManagementParameters({ apu: bytes('Alice'), apv: bytes('Bob') })
    .encrypt(key);
  await expect(open(jwe)).rejects.toMatchObject({ code: 'invalid_request' });
});

describe('handles', () => {
  it('open with jose, and those of jose with Mayfly', async () => {
    const jwk = newSecretJwk('1');
    const binding = { leaseId: 'l', organization: 'o', integration: 'i' };
    const box = await HandleBox.load(await folder.write('handle.json', [jwk]));
    const secret = Buffer.from(jwk.k ?? '', 'base64url');
    const { plaintext, protectedHeader } = await compactDecrypt(await box.seal({ a: 1 }, binding), secret);
    expect(text(plaintext)).toBe('{"a":1}');
    const theirs = (payload: string) =>
      new CompactEncrypt(bytes(payload)).setProtectedHeader(protectedHeader).encrypt(createSecretKey(secret));
    expect(await box.open(await theirs('{"b":2}'), binding)).toEqual({ b: 2 });
    await expect(box.open(await theirs('no JSON'), binding)).rejects.toMatchObject({
      code: 'invalid_request',
    });
  });
});

describe('the examples of the RFCs', () => {
  it('RFC 8037 A.4 and A.5: Ed25519 signature', () => {
    const jwk = {
      kty: 'OKP',
      crv: 'Ed25519',
      d: 'nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A',
      x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
    };
    const jws =
      'eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg';
    const payload = Buffer.from('Example of Ed25519 signing').toString('base64url');
    expect(signJws({ algorithm: 'EdDSA', key: keyOf(jwk) }, { alg: 'EdDSA' }, payload)).toBe(jws);
    const parsed = parseJws(jws);
    const key = { algorithm: 'EdDSA', key: keyOf(publicPartOf(jwk)) } as const;
    expect(parsed && isSignedWith(key, parsed)).toBe(true);
  });

  it('RFC 7518 Appendix C: ECDH-ES key agreement', () => {
    const alice = {
      kty: 'EC',
      crv: 'P-256',
      x: 'gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0',
      y: 'SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps',
      d: '0_NxaRPUMQoAJt50Gz8YiTr8gRTwyEaCumd-MToTmIo',
    };
    const bob = {
      kty: 'EC',
      crv: 'P-256',
      x: 'weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ',
      y: 'e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck',
      d: 'VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw',
    } as const;
    const shared = diffieHellman({ privateKey: keyOf(alice), publicKey: importAgreementKey(bob) });
    expect([...shared.subarray(0, 4)]).toEqual([158, 86, 217, 29]);
    const key = concatKdf(shared, 'A128GCM', 128, bytes('Alice'), bytes('Bob'));
    expect(key.toString('base64url')).toBe('VqqN6vgjbSBcIijNcacQGg');
  });

  it('RFC 8037 A.6: X25519 key agreement', () => {
    const ephemeral = 'hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo';
    const bob = '3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08';
    const privateKey = keyOf({
      kty: 'OKP',
      crv: 'X25519',
      x: ephemeral,
      d: 'dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo',
    });
    expect(createPublicKey(privateKey).export({ format: 'jwk' }).x).toBe(ephemeral);
    const publicKey = importAgreementKey({ kty: 'OKP', crv: 'X25519', x: bob });
    expect(diffieHellman({ privateKey, publicKey }).toString('hex')).toBe(
      '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742',
    );
  });
});
