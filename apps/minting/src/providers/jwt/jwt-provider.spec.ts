import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Secret, type JwtIntegrationSettings } from '@mayfly/domain';
import { describeProviderConformance } from '@mayfly/testing';
import { loadSigningKeys, verifyToolToken, type SigningKeys } from '@mayfly/tokens';
import { calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deadlineIn } from '../deadline.ts';
import { ProviderUnavailable } from '../provider-error.ts';
import { JwtProvider } from './jwt-provider.ts';

const issuer = 'https://mayfly.example';
const folder = mkdtempSync(join(tmpdir(), 'mayfly-jwt-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function makeKeys(): Promise<SigningKeys> {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  const path = join(folder, `${crypto.randomUUID()}.jwks.json`);
  const key = { ...(await exportJWK(privateKey)), kid: 't1', alg: 'ES256', use: 'sig' };
  writeFileSync(path, JSON.stringify({ keys: [key] }), { mode: 0o600 });
  return loadSigningKeys(path);
}

const contextOf = (
  leaseId: string,
  settings: JwtIntegrationSettings = { audience: 'https://tool.example' },
) => ({
  leaseId,
  organization: 'acme',
  integration: 'tool',
  integrationSettings: settings,
  credentialSettings: {},
  secrets: () => Promise.resolve(new Secret('unused')),
  deadline: deadlineIn(1000),
  agentId: 'spiffe://acme.example/agent/ci/build/1',
  bounds: { scopes: ['read:doc:*', 'write:doc:*'] },
  scope: { scopes: ['read:doc:1'] },
  ttlSeconds: 120,
  grantedAt: new Date(),
});

describeProviderConformance('jwt', { ends: 'unnamed' }, async () => {
  const keys = await makeKeys();
  const provider = new JwtProvider({ issuer, keys });
  const scopes = async (secret: string) => {
    const { token } = JSON.parse(secret) as { token: string };
    return (await verifyToolToken(keys, token, { issuer, now: new Date() })).scope.split(' ');
  };
  return {
    mint: async ({ leaseId, scope }) => {
      const context = contextOf(leaseId);
      const minted = await provider.mint({
        ...context,
        scope: scope === 'bounds' ? context.bounds : context.scope,
      });
      return { ...minted, secret: minted.secret.reveal() };
    },
    revoke: () => provider.revoke(),
    reconcile: async () => (await provider.reconcile()).outcome,
    mayDoTheNarrow: async (secret) => (await scopes(secret)).some((scope) => scope.startsWith('read:doc:')),
    mayDoTheWide: async (secret) => (await scopes(secret)).includes('write:doc:*'),
    isLeftUpstream: () => Promise.resolve(false),
    failing: {
      rejected: () => provider.mint(contextOf(crypto.randomUUID(), { audience: 'mayfly-minting' })),
      // Mayfly itself is the upstream: there is nothing to be out of reach.
      unavailable: () => Promise.reject(new ProviderUnavailable('the upstream did not answer in time')),
    },
    upstreamWords: [/mayfly-minting/],
    close: () => Promise.resolve(),
  };
});

describe('JwtProvider', () => {
  let keys: SigningKeys;
  let provider: JwtProvider;
  beforeAll(async () => {
    keys = await makeKeys();
    provider = new JwtProvider({ issuer, keys });
  });
  const tokenOf = (secret: Secret) => (JSON.parse(secret.reveal()) as { token: string }).token;

  it('says who acts for whom on what, for one tool, until when', async () => {
    const leaseId = crypto.randomUUID();
    const minted = await provider.mint({ ...contextOf(leaseId), user: 'ann', task: 'release' });
    const claims = await verifyToolToken(keys, tokenOf(minted.secret), { issuer, now: new Date() });
    expect(claims).toEqual({
      jti: leaseId,
      sub: 'spiffe://acme.example/agent/ci/build/1',
      act: { sub: 'ann' },
      task: 'release',
      organization: 'acme',
      scope: 'read:doc:1',
      aud: 'https://tool.example',
      iat: claims.exp - 120,
      exp: (minted.nativeExpiresAt?.getTime() ?? 0) / 1000,
    });
  });

  it('expires by the clock that the grant was stamped with, whatever its own says', async () => {
    const grantedAt = new Date(Math.floor(Date.now() / 1000) * 1000 - 20_000);
    const { nativeExpiresAt } = await provider.mint({ ...contextOf(crypto.randomUUID()), grantedAt });
    expect(nativeExpiresAt).toEqual(new Date(grantedAt.getTime() + 120_000));
  });

  it('binds the token to the asker’s key, when it has one', async () => {
    const { publicKey } = await generateKeyPair('ECDH-ES', { crv: 'X25519', extractable: true });
    const { x = '' } = await exportJWK(publicKey);
    const askerKey = { kty: 'OKP', crv: 'X25519', x, kid: 'ignored' } as const;
    const minted = await provider.mint({ ...contextOf(crypto.randomUUID()), askerKey });
    const { cnf } = await verifyToolToken(keys, tokenOf(minted.secret), { issuer, now: new Date() });
    expect(cnf).toEqual({ jkt: await calculateJwkThumbprint({ kty: 'OKP', crv: 'X25519', x }, 'sha256') });
  });

  it.each(['mayfly', 'mayfly-policy', 'Mayfly-Revocation', ' mayfly-audit', 'mayfly-anything'])(
    'I7: refuses Mayfly’s own audience %j',
    async (audience) => {
      await expect(provider.mint(contextOf(crypto.randomUUID(), { audience }))).rejects.toMatchObject({
        code: 'provider_rejected',
      });
    },
  );
});
