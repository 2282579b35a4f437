import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  CompactSign,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  importJWK,
  type CryptoKey,
  type JWK,
} from 'jose';
import { IdentityVerifier, type TrustIssuer } from './identity.ts';
import { isAcceptableJwksUrl, maxWaiting, UnknownKey } from './issuer-keys.ts';
import { newKeyFolder, newSigningJwk, publicPartOf, type KeyFolder } from './key-fixtures.ts';
import { tokenKinds } from './kinds.ts';

const now = new Date('2026-11-20T12:00:00.000Z');
const epoch = now.getTime() / 1000;
const issuer = 'https://issuer.example';
const base = { iss: issuer, aud: 'mayfly', sub: 'agent-1', iat: epoch, exp: epoch + 300 };

let folder: KeyFolder;
let server: Server;
let origin: string;
let rsa: { privateKey: CryptoKey; publicKey: CryptoKey };
let ed: JWK;
let answer: RequestListener;
let fetches = 0;

beforeAll(async () => {
  folder = await newKeyFolder();
  rsa = await generateKeyPair('RS256');
  ed = await newSigningJwk('ed');
  const jwks = {
    keys: [{ ...(await exportJWK(rsa.publicKey)), kid: 'rsa', alg: 'RS256' }, publicPartOf(ed)],
  };
  answer = (request, response) => {
    fetches += 1;
    if (request.url === '/jwks') response.end(JSON.stringify(jwks));
    else if (request.url === '/private') response.end(JSON.stringify({ keys: [ed] }));
    else if (request.url === '/large') response.end(`{"keys":[],"pad":"${'x'.repeat(300_000)}"}`);
    else if (request.url === '/garbage') response.end('<html>');
    else if (request.url === '/redirect') response.writeHead(302, { location: '/jwks' }).end();
    else response.writeHead(500).end('secret upstream text');
  };
  server = createServer((request, response) => answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  await new Promise((resolve) => server.close(resolve));
  await folder.remove();
});

const rule = (changes: Partial<TrustIssuer> = {}): TrustIssuer => ({
  issuer,
  audience: 'mayfly',
  jwks: { url: `${origin}/jwks` },
  ...changes,
});

async function sign(payload: object, header: object = {}, key?: CryptoKey | Uint8Array): Promise<string> {
  return new CompactSign(new TextEncoder().encode(JSON.stringify(payload)))
    .setProtectedHeader({ alg: 'RS256', kid: 'rsa', ...header })
    .sign(key ?? rsa.privateKey);
}

const verify = (token: string, rules = [rule()], verifier = new IdentityVerifier()) =>
  verifier.verify(token, rules, { now });
const refusal = (reason: RegExp) => ({ code: 'unauthenticated', reason: expect.stringMatching(reason) });

describe('IdentityVerifier', () => {
  it('accepts a token of a trusted issuer by JWKS address, RS256 or EdDSA', async () => {
    expect(await verify(await sign(base))).toMatchObject({ issuer, claims: base });
    const token = await sign(base, { alg: 'EdDSA', kid: 'ed', typ: 'JWT' }, await importEd());
    expect(await verify(token)).toMatchObject({ issuer, claims: base });
  });

  it('fetches the keys once for many tokens, also when strangers name unknown keys', async () => {
    const verifier = new IdentityVerifier();
    fetches = 0;
    await verify(await sign(base), [rule()], verifier);
    await verify(await sign(base), [rule()], verifier);
    for (const kid of ['x', 'y', 'z']) {
      await expect(verify(await sign(base, { kid }), [rule()], verifier)).rejects.toBeInstanceOf(UnknownKey);
    }
    expect(fetches).toBe(1);
  });

  it('fetches nothing for a token of an unknown issuer or another audience', async () => {
    fetches = 0;
    const stranger = await sign({ ...base, iss: 'https://evil.example' });
    await expect(verify(stranger)).rejects.toMatchObject(refusal(/not trusted/));
    await expect(verify(await sign({ ...base, aud: 'other' }))).rejects.toMatchObject(refusal(/audience/));
    await expect(verify(await sign({ ...base, aud: undefined }))).rejects.toMatchObject(refusal(/audience/));
    expect(fetches).toBe(0);
  });

  it('refuses alg none, and HS256 with the public key as the secret', async () => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    await expect(verify(`${part({ alg: 'none' })}.${part(base)}.`)).rejects.toMatchObject({
      code: 'unauthenticated',
    });
    const pem = new TextEncoder().encode(await exportSPKI(rsa.publicKey));
    const hmac = await sign(base, { alg: 'HS256' }, pem);
    await expect(verify(hmac)).rejects.toMatchObject(refusal(/algorithm/));
    const allowed = rule({ algorithms: ['HS256', 'none', 'RS256'] });
    await expect(verify(hmac, [allowed])).rejects.toMatchObject(refusal(/algorithm/));
  });

  it('takes only the algorithms that a rule names', async () => {
    await expect(verify(await sign(base), [rule({ algorithms: ['EdDSA'] })])).rejects.toMatchObject(
      refusal(/algorithm/),
    );
  });

  it.each<[string, object, RegExp]>([
    ['expired', { exp: epoch - 30 }, /expired/],
    ['without exp', { exp: undefined }, /lacks/],
    ['without iat', { iat: undefined }, /lacks/],
    ['not yet valid', { nbf: epoch + 31 }, /not yet valid/],
    ['from the future', { iat: epoch + 31 }, /not yet valid/],
    ['issued more than 24 h ago', { iat: epoch - 86_431 }, /too old/],
    ['nested too deep', { deep: JSON.parse('['.repeat(20) + ']'.repeat(20)) as unknown }, /nested/],
    ['longer than 16 KiB', { pad: 'x'.repeat(16_384) }, /too long/],
  ])('refuses a token %s', async (_name, changes, reason) => {
    await expect(verify(await sign({ ...base, ...changes }))).rejects.toMatchObject(refusal(reason));
  });

  it('allows 30 s between clocks', async () => {
    const edges = { exp: epoch - 29, nbf: epoch + 30, iat: epoch + 30 };
    for (const [claim, value] of Object.entries(edges)) {
      await expect(verify(await sign({ ...base, [claim]: value }))).resolves.toBeDefined();
    }
  });

  it('never takes one of Mayfly’s own tokens for an identity', async () => {
    const { sessionToken, grant, assertion, reconcileOrder, checkpoint } = tokenKinds;
    for (const { typ } of [sessionToken, grant, assertion, reconcileOrder, checkpoint]) {
      for (const spelled of [typ, typ.toUpperCase(), `application/${typ}`]) {
        await expect(verify(await sign(base, { typ: spelled }))).rejects.toMatchObject(
          refusal(/another kind/),
        );
      }
    }
  });

  it.each(['', 'x', 'a.b.c', '\u0000.\u0000.'])('refuses what is no token (%#)', async (token) => {
    await expect(verify(token)).rejects.toMatchObject(refusal(/malformed/));
  });

  it.each(['/500', '/garbage', '/large', '/redirect', '/private'])(
    'says that a dependency is unavailable when the keys at %s cannot be used',
    async (path) => {
      const failure = verify(await sign(base), [rule({ jwks: { url: `${origin}${path}` } })]);
      await expect(failure).rejects.toMatchObject({
        code: 'dependency_unavailable',
        reason: expect.not.stringContaining('upstream text'),
      });
    },
  );

  it('says so too when nobody listens, and when the address is neither https nor local', async () => {
    const closed = createServer();
    await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
    const { port } = closed.address() as AddressInfo;
    await new Promise((resolve) => closed.close(resolve));
    const unavailable = { code: 'dependency_unavailable' };
    for (const url of [`http://127.0.0.1:${port}/jwks`, 'http://issuer.example/jwks', 'file:///etc/passwd']) {
      await expect(verify(await sign(base), [rule({ jwks: { url } })])).rejects.toMatchObject(unavailable);
    }
  });

  it('recovers when the issuer answers again', async () => {
    const verifier = new IdentityVerifier();
    const healthy = answer;
    answer = (_request, response) => response.writeHead(503).end();
    await expect(verify(await sign(base), [rule()], verifier)).rejects.toMatchObject({
      code: 'dependency_unavailable',
    });
    answer = healthy;
    await expect(verify(await sign(base), [rule()], verifier)).resolves.toBeDefined();
  });

  it('lets no more than so many wait for an issuer that hangs, and none of another issuer', async () => {
    const verifier = new IdentityVerifier();
    const token = await sign(base);
    await verify(token, [rule()], verifier);
    const healthy = answer;
    let release: () => void = () => undefined;
    const asked = new Promise<void>((resolve) => {
      answer = (request, response) => {
        release = () => healthy(Object.assign(request, { url: '/jwks' }), response);
        resolve();
      };
    });
    const hanging = [rule({ jwks: { url: `${origin}/hanging` } })];
    const waiting = Array.from({ length: maxWaiting }, () => verify(token, hanging, verifier));
    await asked;
    await expect(verify(token, hanging, verifier)).rejects.toMatchObject({ code: 'dependency_unavailable' });
    await expect(verify(token, [rule()], verifier)).resolves.toBeDefined();
    answer = healthy;
    release();
    await expect(Promise.all(waiting)).resolves.toHaveLength(maxWaiting);
    await expect(verify(token, hanging, verifier)).resolves.toBeDefined();
  });

  it('tries each rule of the issuer, and tells which one accepted', async () => {
    const broken = rule({ jwks: { url: `${origin}/500` } });
    const good = { ...rule(), organization: 'acme' };
    const { rule: accepted } = await new IdentityVerifier().verify(await sign(base), [broken, good], { now });
    expect(accepted).toBe(good);
  });

  it('reads keys from a file, and again when it changes', async () => {
    const path = await folder.write('issuer.json', [publicPartOf(ed)], 0o644);
    const verifier = new IdentityVerifier({ checkEverySeconds: 0 });
    const rules = [rule({ jwks: { file: path } })];
    const token = await sign(base, { alg: 'EdDSA', kid: 'ed' }, await importEd());
    await expect(verify(token, rules, verifier)).resolves.toBeDefined();
    await folder.write('issuer.json', [publicPartOf(await newSigningJwk('other'))], 0o644);
    await expect(verify(token, rules, verifier)).rejects.toBeInstanceOf(UnknownKey);
    const missing = [rule({ jwks: { file: '/nonexistent/jwks.json' } })];
    await expect(verify(token, missing, verifier)).rejects.toMatchObject({ code: 'dependency_unavailable' });
  });
});

describe('isAcceptableJwksUrl', () => {
  it.each([
    'https://issuer.example/jwks',
    'http://localhost:1/jwks',
    'http://127.0.0.1:1/jwks',
    'http://[::1]/jwks',
  ])('takes %s', (url) => expect(isAcceptableJwksUrl(url)).toBe(true));
  it.each([
    'http://issuer.example/jwks',
    'http://localhost.evil.example/',
    'http://127.0.0.1.evil.example/',
    'https://user:password@issuer.example/',
    'ftp://localhost/',
    'jwks',
  ])('refuses %s', (url) => expect(isAcceptableJwksUrl(url)).toBe(false));
});

async function importEd(): Promise<CryptoKey> {
  return (await importJWK(ed, 'EdDSA')) as CryptoKey;
}
