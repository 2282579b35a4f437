/** Whatever comes in, it is refused in Mayfly's own words; and one value has one spelling. */
import { createCipheriv, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MayflyError } from '@mayfly/contracts';
import fc from 'fast-check';
import { CompactSign, importJWK, type JWK } from 'jose';
import { HandleBox } from './handle.ts';
import { agreeOnKey, concatKdf, generateAgreementKey, importAgreementKey } from './key-agreement.ts';
import { newKeyFolder, newSecretJwk, newSigningJwk, publicPartOf, type KeyFolder } from './key-fixtures.ts';
import { loadSigningKeys, loadVerificationKeys, type SigningKeys, type VerificationKeys } from './keys.ts';
import { tokenKinds } from './kinds.ts';
import { generateSealingKeyPair, loadSealingKey, sealTo, type SealingKeyPair } from './sealing.ts';
import { TokenSigner } from './signer.ts';
import { signToolToken, verifyToolToken } from './tool-token.ts';
import { TokenVerifier } from './verifier.ts';

const now = new Date('2026-11-20T12:00:00.000Z');
const id = '01932b6e-0000-7000-8000-000000000001';
const agent = 'spiffe://acme.example/agent/o/t/i';
const claims = { sub: agent, sid: id, organization: 'acme', kind: 'agent' } as const;
const binding = { leaseId: 'l', organization: 'o', integration: 'i' };
const use = { issuer: 'https://mayfly.example', audience: 'https://tool.example', now };
const typ = tokenKinds.sessionToken.typ;

interface Subject {
  readonly name: string;
  readonly value: string;
  readonly accept: (value: string) => Promise<unknown>;
}

let folder: KeyFolder;
let jwk: JWK;
let signing: SigningKeys;
let pinned: VerificationKeys;
let pair: SealingKeyPair;
const things: Subject[] = [];

beforeAll(async () => {
  folder = await newKeyFolder();
  jwk = await newSigningJwk('one');
  signing = await loadSigningKeys(await folder.write('private.json', [jwk]));
  pinned = await loadVerificationKeys(await folder.write('public.json', [publicPartOf(jwk)]));
  const es256 = await loadSigningKeys(await folder.write('es256.json', [await newSigningJwk('e', 'ES256')]));
  pair = await generateSealingKeyPair();
  const box = await HandleBox.load(await folder.write('handle.json', [newSecretJwk('1')]));
  const toolClaims = { jti: id, sub: agent, scope: 'read', organization: 'acme' };
  things.push(
    {
      name: 'session token',
      value: await new TokenSigner(tokenKinds.sessionToken, signing).sign(claims, { now }),
      accept: verify,
    },
    {
      name: 'tool token (ES256)',
      value: await signToolToken(es256, toolClaims, { ...use, ttlSeconds: 60 }),
      accept: (token) => verifyToolToken(es256, token, use),
    },
    {
      name: 'sealed value',
      value: await sealTo(pair.publicJwk, { password: 's3cret' }),
      accept: (jwe) => pair.open(jwe),
    },
    {
      name: 'handle',
      value: await box.seal({ role: 'r' }, binding),
      accept: (jwe) => box.open(jwe, binding),
    },
  );
});
afterAll(() => folder.remove());

function verify(token: string): Promise<unknown> {
  return new TokenVerifier(tokenKinds.sessionToken, pinned).verify(token, { now });
}

async function outcomeOf(thing: Subject, value: string): Promise<unknown> {
  return thing.accept(value).then(
    () => 'accepted',
    (error: unknown) => error,
  );
}

async function expectRefusal(thing: Subject, value: string): Promise<void> {
  const outcome = await outcomeOf(thing, value);
  if (!(outcome instanceof MayflyError)) throw new Error(`${thing.name}: ${value} gave ${String(outcome)}`);
  expect(['unauthenticated', 'invalid_request']).toContain(outcome.code);
}

describe('altered input', () => {
  it('is refused, whichever character is another one', async () => {
    for (const thing of things) {
      await expect(thing.accept(thing.value)).resolves.toBeDefined();
      await fc.assert(
        fc.asyncProperty(
          fc.nat(thing.value.length - 1),
          fc.constantFrom(...'ABQgwz019_-.=+/ \n\0é'),
          async (at, other) => {
            fc.pre(thing.value[at] !== other);
            await expectRefusal(thing, thing.value.slice(0, at) + other + thing.value.slice(at + 1));
          },
        ),
        { numRuns: 200 },
      );
    }
  });

  it('is refused when a part has bits left over, padding, white space or the other alphabet', async () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    for (const thing of things) {
      const parts = thing.value.split('.');
      for (const [at, part] of parts.entries()) {
        const respelled = [`${part}=`, `${part}==`, ` ${part}`, `${part}\n`, `${part}A`];
        if (part.length % 4 > 1) {
          const last = alphabet.indexOf(part.at(-1) ?? 'A');
          respelled.push(part.slice(0, -1) + String(alphabet[last + 1]));
        }
        if (/[-_]/.test(part)) respelled.push(part.replaceAll('-', '+').replaceAll('_', '/'));
        for (const other of respelled) await expectRefusal(thing, parts.with(at, other).join('.'));
      }
    }
  });

  it('is refused with a part too many or too few', async () => {
    for (const thing of things) {
      const parts = thing.value.split('.');
      const others = [`${thing.value}.`, `.${thing.value}`, `${thing.value}.AA`, parts.slice(1).join('.')];
      for (const other of [...others, parts.slice(0, -1).join('.')]) await expectRefusal(thing, other);
    }
  });

  it('never causes anything but a MayflyError, whatever it is', async () => {
    const part = fc.oneof(
      fc.string(),
      fc.base64String(),
      fc.json().map((json) => Buffer.from(json).toString('base64url')),
      fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString('base64url')),
    );
    const value = fc.oneof(
      fc.array(part, { maxLength: 7 }).map((parts) => parts.join('.')),
      fc.string({ unit: 'binary' }),
      fc.anything(),
    );
    await fc.assert(
      fc.asyncProperty(value, async (given) => {
        for (const thing of things) await expectRefusal(thing, given as string);
      }),
      { numRuns: 300 },
    );
  });
});

describe('a header of the known key', () => {
  const header = { alg: 'EdDSA', kid: 'one', typ };
  const iat = now.getTime() / 1000;
  const payload = { ...claims, iss: 'mayfly-policy', aud: 'mayfly', iat, exp: iat + 60 };
  const forge = async (protectedHeader: object, content = JSON.stringify(payload)) =>
    new CompactSign(Buffer.from(content))
      .setProtectedHeader({ ...header, ...protectedHeader })
      .sign(await importJWK(jwk, 'EdDSA'), { crit: { x: true } });

  it('is accepted as it should be', async () => {
    await expect(verify(await forge({}))).resolves.toMatchObject(claims);
  });

  it.each<object>([
    { crit: ['x'], x: 1 },
    { b64: true },
    { jwk: { kty: 'OKP' } },
    { jku: 'https://evil.example' },
    { x5c: ['AA'] },
    { x5u: 'https://evil.example' },
    { cty: 'JWT' },
    { unheard: 'of' },
  ])('is refused with %j', async (more) => {
    await expect(verify(await forge(more))).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  it.each([typ.toUpperCase(), `application/${typ}`])('is refused with the typ spelled %s', async (other) => {
    await expect(verify(await forge({ typ: other }))).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  it.each(['[]', 'null', '"x"', '1', '', '{', '{"a":1}{'])(
    'is refused over the payload %j',
    async (content) => {
      await expect(verify(await forge({}, content))).rejects.toMatchObject({ code: 'unauthenticated' });
    },
  );

  it('is refused over a payload that is no UTF-8', async () => {
    const text = JSON.stringify({ ...payload, organization: 'X' });
    const bytes = Buffer.from(text);
    bytes[text.indexOf('"X"') + 1] = 0xff;
    const token = await new CompactSign(bytes).setProtectedHeader(header).sign(await importJWK(jwk, 'EdDSA'));
    await expect(verify(token)).rejects.toMatchObject({ reason: 'The token is malformed.' });
  });
});

/** RFC 7748 §6.1 and the list of https://cr.yp.to/ecdh.html#validate: 0, 1, two of order 8, p - 1, p and p + 1. */
const smallOrder = [
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  `ec${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(30)}7f`,
].map((hex) => Buffer.from(hex, 'hex').toString('base64url'));

describe('a sealed value from a stranger', () => {
  it('opens when it is as it should be', async () => {
    const { publicKey, privateKey } = generateAgreementKey('X25519');
    const key = agreeOnKey(privateKey, importAgreementKey(pair.publicJwk));
    const jwe = sealWith(key, { epk: publicKey.export({ format: 'jwk' }) });
    expect(await pair.open(jwe)).toBe('x');
  });

  it.each(smallOrder)('does not open with an ephemeral point of small order, %s', async (x) => {
    await expect(sealTo({ kty: 'OKP', crv: 'X25519', x }, 'x')).rejects.toMatchObject({
      code: 'invalid_request',
    });
    // Right in all else: sealed with the key that the all-zero secret would give.
    const jwe = sealWith(concatKdf(Buffer.alloc(32), 'A256GCM', 256), {
      epk: { kty: 'OKP', crv: 'X25519', x },
    });
    await expect(pair.open(jwe)).rejects.toMatchObject({ code: 'invalid_request' });
  });

  it.each<unknown>([
    undefined,
    null,
    'x',
    [],
    {},
    { kty: 'OKP', crv: 'X25519' },
    { kty: 'OKP', crv: 'X25519', x: 1 },
    { kty: 'OKP', crv: 'X25519', x: `${'A'.repeat(42)}B` },
    { kty: 'OKP', crv: 'X25519', x: 'CQ', d: 'CQ' },
    { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' },
    { kty: 'EC', crv: 'P-256', x: 'A'.repeat(43), y: 'A'.repeat(43) },
    { kty: 'oct', k: 'A'.repeat(43) },
  ])('does not open with the epk %j', async (epk) => {
    await expect(pair.open(sealWith(randomBytes(32), { epk }))).rejects.toMatchObject({
      code: 'invalid_request',
    });
  });

  it('does not open with a tag cut short', async () => {
    const parts = (await sealTo(pair.publicJwk, 'x')).split('.');
    for (const length of [4, 8, 12, 15]) {
      const cut = Buffer.from(parts[4] ?? '', 'base64url')
        .subarray(0, length)
        .toString('base64url');
      await expect(pair.open(parts.with(4, cut).join('.'))).rejects.toMatchObject({
        code: 'invalid_request',
      });
    }
  });
});

it('a private part that does not belong to the public one is no key', async () => {
  const other = await newSigningJwk('one');
  const mixed = { ...jwk, x: other.x } as JWK;
  await expect(loadSigningKeys(await folder.write('mixed.json', [mixed]))).rejects.toThrow(
    /not a valid Ed25519 key/,
  );
  const sealing = { ...mixed, crv: 'X25519', alg: 'ECDH-ES', use: 'enc' };
  await expect(loadSealingKey(await folder.write('mixed-sealing.json', [sealing]))).rejects.toThrow(
    /not a valid X25519 key/,
  );
});

function sealWith(key: Buffer, header: object): string {
  const encoded = Buffer.from(JSON.stringify({ alg: 'ECDH-ES', enc: 'A256GCM', ...header })).toString(
    'base64url',
  );
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, iv);
  cipher.setAAD(Buffer.from(encoded));
  const ciphertext = Buffer.concat([cipher.update('x'), cipher.final()]);
  return [
    encoded,
    '',
    ...[iv, ciphertext, cipher.getAuthTag()].map((part) => part.toString('base64url')),
  ].join('.');
}
