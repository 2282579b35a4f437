import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLocalJWKSet, jwtVerify, type JSONWebKeySet } from 'jose';
import { writeDevelopmentIdentities } from './development-identities.ts';
import { issueIdentityToken, openDevelopmentIssuer, type IdentityIssuer } from './development-issuer.ts';

let folder: string;
let issuer: IdentityIssuer;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mayfly-issuer-'));
  issuer = await openDevelopmentIssuer(join(folder, 'issuer'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Verifies as a relying party would: by the published file alone. */
function verify(token: string): ReturnType<typeof jwtVerify> {
  const keys = createLocalJWKSet(JSON.parse(readFileSync(issuer.jwksFile, 'utf8')) as JSONWebKeySet);
  return jwtVerify(token, keys, {
    issuer: 'https://issuer.mayfly.localhost',
    audience: 'mayfly',
    algorithms: ['ES256'],
  });
}

describe('the development issuer', () => {
  it('keeps its key and publishes only the public part', async () => {
    const again = await openDevelopmentIssuer(join(folder, 'issuer'));
    expect(again.publicKeys).toEqual(issuer.publicKeys);
    expect(readFileSync(issuer.jwksFile, 'utf8')).not.toContain('"d"');
    expect(statSync(join(folder, 'issuer', 'private', 'issuer.jwks.json')).mode & 0o777).toBe(0o600);
  });

  it.each([
    ['expired', { expiresInSeconds: -60 }, /"exp" claim timestamp check failed/u],
    ['for another audience', { audience: 'another' }, /unexpected "aud" claim value/u],
    ['of another issuer', { issuer: 'https://another.example' }, /unexpected "iss" claim value/u],
  ])('can issue a token that is %s', async (_what, options, message) => {
    await expect(verify(await issueIdentityToken(issuer, { sub: 'a' }, options))).rejects.toThrow(message);
  });
});

describe('writeDevelopmentIdentities', () => {
  it('writes three verifiable identities of ten minutes, 0600, each with a jti of its own', async () => {
    const files = await writeDevelopmentIdentities(folder, issuer);
    const identities = await Promise.all(
      Object.values(files).map(async (file) => {
        expect(statSync(file).mode & 0o777).toBe(0o600);
        return (await verify(readFileSync(file, 'utf8').trim())).payload;
      }),
    );
    expect(identities).toMatchObject([
      {
        kind: 'agent',
        orchestration: 'demo',
        task: 'report',
        role: 'analyst',
        on_behalf_of: 'ada@example.com',
      },
      { kind: 'person', groups: ['administrators', 'platform-administrators'] },
      { kind: 'person', groups: ['auditors'] },
    ]);
    for (const { exp = 0, iat = 0 } of identities) expect(exp - iat).toBe(600);
    expect(new Set(identities.map(({ jti }) => jti)).size).toBe(3);
  });
});
