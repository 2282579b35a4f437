import type {
  AssertionClaims,
  GrantClaims,
  ReconcileClaims,
  SessionClaims,
  ToolTokenClaims,
} from '@mayfly/contracts';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { CompactSign, importJWK, type JWK } from 'jose';
import { newKeyFolder, newSigningJwk, publicPartOf, type KeyFolder } from './key-fixtures.ts';
import { loadSigningKeys, loadVerificationKeys, type SigningKeys, type VerificationKeys } from './keys.ts';
import { tokenKinds, type TokenKind } from './kinds.ts';
import { TokenSigner } from './signer.ts';
import { signToolToken, verifyToolToken } from './tool-token.ts';
import { TokenVerifier } from './verifier.ts';

const now = new Date('2026-11-20T12:00:00.000Z');
const epoch = now.getTime() / 1000;
const later = (seconds: number) => new Date(now.getTime() + seconds * 1000);
const id = '01932b6e-0000-7000-8000-000000000001';
const actor = { organization: 'acme', session_id: id, agent_id: 'spiffe://acme.example/agent/o/t/i' };

const sessionClaims: SessionClaims = { sub: actor.agent_id, sid: id, organization: 'acme', kind: 'agent' };
const grantClaims: GrantClaims = {
  jti: id,
  actor,
  source_ip: '192.0.2.1',
  credential: 'orders-db/readonly',
  provider: 'postgres',
  integration: { name: 'orders-db', settings: {}, secret_references: [] },
  settings: {},
  bounds: {},
  scope: { tables: ['orders'] },
  ttl_seconds: 60,
  session_expires_at: new Date(Date.now() + 3_600_000).toISOString(),
  recipient_key: { kty: 'OKP', crv: 'X25519', x: 'A'.repeat(43) },
  recipient: 'session',
  granted_at: new Date().toISOString(),
  policy_ids: [],
  config_version: 1,
};
const assertionClaims: AssertionClaims = {
  jti: id,
  actor,
  kind: 'agent',
  person_roles: [],
  act: { action: 'list_leases' },
};
const reconcileClaims: ReconcileClaims = {
  jti: id,
  organization: 'acme',
  credential: 'orders-db/readonly',
  provider: 'postgres',
  integration: { name: 'orders-db', settings: {}, secret_references: [] },
  settings: {},
  config_version: 1,
};
const toolClaims: ToolTokenClaims = {
  jti: id,
  sub: actor.agent_id,
  scope: 'read:table:orders',
  organization: 'acme',
};

interface Case {
  name: string;
  typ: string;
  sign: () => Promise<string>;
  verify: (token: string) => Promise<unknown>;
}

let folder: KeyFolder;
let jwk: JWK;
let signing: SigningKeys;
let pinned: VerificationKeys;
beforeAll(async () => {
  folder = await newKeyFolder();
  jwk = await newSigningJwk('one');
  signing = await loadSigningKeys(await folder.write('private.json', [jwk]));
  pinned = await loadVerificationKeys(await folder.write('public.json', [publicPartOf(jwk)]));
});
afterAll(() => folder.remove());

/** All kinds share one key here, so that nothing but the kind itself keeps them apart. */
function caseOf<Claims>(name: string, kind: TokenKind<Claims>, claims: Claims): Case {
  const [audience] = [kind.audience].flat() as [string];
  return {
    name,
    typ: kind.typ,
    sign: () => new TokenSigner(kind, signing).sign(claims, { now }),
    verify: (token) => new TokenVerifier(kind, pinned, { audience }).verify(token, { now }),
  };
}

const toolUse = { issuer: 'https://mayfly.example', audience: 'https://tool.example', now };
const cases: Case[] = [
  caseOf('sessionToken', tokenKinds.sessionToken, sessionClaims),
  caseOf('grant', tokenKinds.grant, grantClaims),
  caseOf('assertion', tokenKinds.assertion, assertionClaims),
  caseOf('reconcileOrder', tokenKinds.reconcileOrder, reconcileClaims),
  caseOf('checkpoint', tokenKinds.checkpoint, { seq: 7, hash: 'ab'.repeat(32) }),
  {
    name: 'toolToken',
    typ: tokenKinds.toolToken.typ,
    sign: () => signToolToken(signing, toolClaims, { ...toolUse, ttlSeconds: 60 }),
    verify: (token) => verifyToolToken(pinned, token, toolUse),
  },
];

/** A token of any header and payload, signed with the known key: what a signer with a bug would make. */
async function forge(payload: object, header: object = {}, key: JWK = jwk): Promise<string> {
  return new CompactSign(new TextEncoder().encode(JSON.stringify(payload)))
    .setProtectedHeader({ alg: 'EdDSA', kid: 'one', typ: tokenKinds.sessionToken.typ, ...header })
    .sign(await importJWK(key, 'EdDSA'));
}

const sessionPayload = { ...sessionClaims, iss: 'mayfly-policy', aud: 'mayfly', iat: epoch, exp: epoch + 60 };
const verifySession = (token: string, at = now, clockToleranceSeconds?: number) =>
  new TokenVerifier(tokenKinds.sessionToken, pinned).verify(token, {
    now: at,
    ...(clockToleranceSeconds !== undefined && { clockToleranceSeconds }),
  });
const refusal = (reason: RegExp) => ({ code: 'unauthenticated', reason: expect.stringMatching(reason) });

describe('token kinds', () => {
  it.each(cases)('$name is signed and verified', async ({ sign, verify }) => {
    expect(await verify(await sign())).toMatchObject({ iat: epoch });
  });

  it.each(cases.flatMap((made) => cases.filter((other) => other !== made).map((other) => ({ made, other }))))(
    '$made.name does not pass for $other.name, even with the same key',
    async ({ made, other }) => {
      await expect(other.verify(await made.sign())).rejects.toMatchObject({ code: 'unauthenticated' });
    },
  );

  it('have all different typs', () => {
    expect(new Set(cases.map((each) => each.typ)).size).toBe(cases.length);
  });

  it('give back just the claims of the kind, with iat and exp', async () => {
    const token = await new TokenSigner(tokenKinds.grant, signing).sign(grantClaims, { now });
    const verifier = new TokenVerifier(tokenKinds.grant, pinned, { audience: 'mayfly-revocation' });
    expect(await verifier.verify(token, { now })).toEqual({ ...grantClaims, iat: epoch, exp: epoch + 30 });
  });

  it('keep checkpoints valid for ever', async () => {
    const token = await new TokenSigner(tokenKinds.checkpoint, signing).sign(
      { seq: 7, hash: 'ab'.repeat(32) },
      { now },
    );
    const verified = await new TokenVerifier(tokenKinds.checkpoint, pinned).verify(token, {
      now: later(1e9),
    });
    expect(verified).toEqual({
      seq: 7,
      hash: 'ab'.repeat(32),
      iat: epoch,
      exp: Number.POSITIVE_INFINITY,
    });
  });
});

describe('TokenSigner', () => {
  it('refuses a TTL or audience outside the kind, and claims that no verifier would take', async () => {
    const signer = new TokenSigner(tokenKinds.assertion, signing);
    const refused = { code: 'internal' };
    await expect(signer.sign(assertionClaims, { now, ttlSeconds: 31 })).rejects.toMatchObject(refused);
    await expect(signer.sign(assertionClaims, { now, ttlSeconds: 0 })).rejects.toMatchObject(refused);
    await expect(signer.sign(assertionClaims, { now, ttlSeconds: 1.5 })).rejects.toMatchObject(refused);
    await expect(signer.sign(assertionClaims, { now, audience: 'mayfly' })).rejects.toMatchObject(refused);
    await expect(signer.sign(assertionClaims, { now, audience: [] })).rejects.toMatchObject(refused);
    const stretched = { ...assertionClaims, exp: epoch + 9999 };
    await expect(signer.sign(stretched, { now })).rejects.toMatchObject(refused);
  });

  it('never signs Mayfly’s own kinds with a P-256 key', async () => {
    const p256 = await loadSigningKeys(await folder.write('p256.json', [await newSigningJwk('p', 'ES256')]));
    const signer = new TokenSigner(tokenKinds.sessionToken, p256);
    await expect(signer.sign(sessionClaims, { now })).rejects.toMatchObject({ code: 'internal' });
  });

  it('narrows the audience to the one service that answers', async () => {
    const token = await new TokenSigner(tokenKinds.assertion, signing).sign(assertionClaims, {
      now,
      audience: 'mayfly-audit',
    });
    const verifierFor = (audience: string) => new TokenVerifier(tokenKinds.assertion, pinned, { audience });
    await expect(verifierFor('mayfly-audit').verify(token, { now })).resolves.toMatchObject({ jti: id });
    await expect(verifierFor('mayfly-revocation').verify(token, { now })).rejects.toMatchObject(
      refusal(/audience/),
    );
  });
});

describe('TokenVerifier', () => {
  it('must be told which of several audiences it is, and takes no other', () => {
    expect(() => new TokenVerifier(tokenKinds.grant, pinned)).toThrow(RangeError);
    expect(() => new TokenVerifier(tokenKinds.grant, pinned, { audience: 'mayfly' })).toThrow(RangeError);
  });

  it.each<[string, object, object, RegExp]>([
    ['another issuer', { iss: 'mayfly-audit' }, {}, /issuer/],
    ['no issuer', { iss: undefined }, {}, /lacks/],
    ['another audience', { aud: 'mayfly-minting' }, {}, /audience/],
    ['no audience', { aud: undefined }, {}, /lacks/],
    ['another typ', {}, { typ: 'JWT' }, /another kind/],
    ['no typ', {}, { typ: undefined }, /another kind/],
    ['an unknown kid', {}, { kid: 'two' }, /known key/],
    ['no kid', {}, { kid: undefined }, /known key/],
    ['no iat', { iat: undefined }, {}, /lacks/],
    ['no exp', { exp: undefined }, {}, /lacks/],
    ['an exp that is no whole number', { exp: epoch + 1.5 }, {}, /lacks/],
    ['an iat that is text', { iat: String(epoch) }, {}, /lacks|malformed|valid/],
    ['an exp too far from iat', { exp: epoch + 3601 }, {}, /lives longer/],
    ['an exp before iat', { iat: epoch + 10, exp: epoch + 5 }, {}, /lives longer/],
    ['a claim too many', { admin: true }, {}, /claims/],
    ['a claim too few', { sid: undefined }, {}, /claims/],
  ])('refuses %s', async (_name, payload, header, reason) => {
    const token = await forge({ ...sessionPayload, ...payload }, header);
    await expect(verifySession(token)).rejects.toMatchObject(refusal(reason));
  });

  it('refuses a signature by another key under a known kid, and an altered payload', async () => {
    const stranger = await forge(sessionPayload, {}, await newSigningJwk('one'));
    await expect(verifySession(stranger)).rejects.toMatchObject(refusal(/known key/));
    const [header, payload, signature] = (await forge(sessionPayload)).split('.') as [string, string, string];
    const claims = {
      ...(JSON.parse(Buffer.from(payload, 'base64url').toString()) as object),
      organization: 'other',
    };
    const altered = Buffer.from(JSON.stringify(claims)).toString('base64url');
    await expect(verifySession(`${header}.${altered}.${signature}`)).rejects.toMatchObject(
      refusal(/known key/),
    );
  });

  it('refuses alg none, and HS256 with the public key as the secret', async () => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const none = `${part({ alg: 'none', kid: 'one', typ: tokenKinds.sessionToken.typ })}.${part(sessionPayload)}.`;
    await expect(verifySession(none)).rejects.toMatchObject({ code: 'unauthenticated' });
    const hmac = await new CompactSign(new TextEncoder().encode(JSON.stringify(sessionPayload)))
      .setProtectedHeader({ alg: 'HS256', kid: 'one', typ: tokenKinds.sessionToken.typ })
      .sign(Buffer.from(jwk.x ?? '', 'base64url'));
    await expect(verifySession(hmac)).rejects.toMatchObject(refusal(/algorithm/));
  });

  it('refuses ES256 for Mayfly’s own kinds, even with a known P-256 key', async () => {
    const p256 = await newSigningJwk('one', 'ES256');
    const keys = await loadVerificationKeys(await folder.write('p256-public.json', [publicPartOf(p256)]));
    const token = await new CompactSign(new TextEncoder().encode(JSON.stringify(sessionPayload)))
      .setProtectedHeader({ alg: 'ES256', kid: 'one', typ: tokenKinds.sessionToken.typ })
      .sign(await importJWK(p256, 'ES256'));
    const verifier = new TokenVerifier(tokenKinds.sessionToken, keys);
    await expect(verifier.verify(token, { now })).rejects.toMatchObject(refusal(/algorithm/));
  });

  it('allows 30 s between clocks and not one more', async () => {
    const token = await forge(sessionPayload);
    await expect(verifySession(token, later(60 + 29))).resolves.toBeDefined();
    await expect(verifySession(token, later(60 + 30))).rejects.toMatchObject(refusal(/expired/));
    await expect(verifySession(token, later(60), 0)).rejects.toMatchObject(refusal(/expired/));
    await expect(verifySession(token, later(-30))).resolves.toBeDefined();
    await expect(verifySession(token, later(-31))).rejects.toMatchObject(refusal(/not yet valid/));
    const notBefore = await forge({ ...sessionPayload, nbf: epoch + 31 });
    await expect(verifySession(notBefore)).rejects.toMatchObject(refusal(/not yet valid/));
  });

  it.each(['', 'x', 'a.b.c', '..', `${'a'.repeat(70_000)}.b.c`, '\u0000', '{"alg":"none"}'])(
    'refuses what is no token (%#)',
    async (token) => {
      await expect(verifySession(token)).rejects.toMatchObject(refusal(/malformed/));
    },
  );

  it('still verifies with the second key after rotation, and signs with the first', async () => {
    const fresh = await newSigningJwk('two');
    const rotated = await loadSigningKeys(await folder.write('rotated.json', [fresh, jwk]));
    const verifier = new TokenVerifier(tokenKinds.sessionToken, rotated);
    await expect(verifier.verify(await forge(sessionPayload), { now })).resolves.toBeDefined();
    const signed = await new TokenSigner(tokenKinds.sessionToken, rotated).sign(sessionClaims, { now });
    expect(JSON.parse(Buffer.from(signed.split('.')[0] ?? '', 'base64url').toString())).toMatchObject({
      kid: 'two',
    });
    await expect(verifier.verify(signed, { now })).resolves.toBeDefined();
    await expect(verifySession(signed)).rejects.toMatchObject(refusal(/known key/));
  });
});

describe('tool tokens', () => {
  it('carry the algorithm of their key, EdDSA or ES256', async () => {
    const es256 = await loadSigningKeys(
      await folder.write('tool.json', [await newSigningJwk('t', 'ES256'), jwk]),
    );
    const token = await signToolToken(es256, toolClaims, { ...toolUse, ttlSeconds: 60 });
    const verified = await verifyToolToken(es256, token, toolUse);
    expect(verified).toEqual({ ...toolClaims, aud: toolUse.audience, iat: epoch, exp: epoch + 60 });
    const old = await signToolToken(signing, toolClaims, { ...toolUse, ttlSeconds: 60 });
    await expect(verifyToolToken(es256, old, { issuer: toolUse.issuer, now })).resolves.toMatchObject({
      jti: id,
    });
  });

  it('are refused for another issuer or audience, and when expired', async () => {
    const token = await signToolToken(signing, toolClaims, { ...toolUse, ttlSeconds: 60 });
    const verify = (options: object) => verifyToolToken(pinned, token, { ...toolUse, ...options });
    await expect(verify({ issuer: 'https://other.example' })).rejects.toMatchObject(refusal(/issuer/));
    await expect(verify({ audience: 'https://other.example' })).rejects.toMatchObject(refusal(/audience/));
    await expect(verify({ now: later(91) })).rejects.toMatchObject(refusal(/expired/));
  });

  it('are never made for one of Mayfly’s own audiences', async () => {
    for (const audience of ['mayfly', 'mayfly-minting', 'mayfly-revocation', 'mayfly-audit']) {
      const signed = signToolToken(signing, toolClaims, { ...toolUse, audience, ttlSeconds: 60 });
      await expect(signed).rejects.toMatchObject({ code: 'invalid_request' });
    }
  });
});
