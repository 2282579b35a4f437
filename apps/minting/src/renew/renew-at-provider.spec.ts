/** What minting prolongs, and on whose word. Real keys and tokens; the upstream is stood in for. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { GrantClaims, MayflyError, RenewalClaims } from '@mayfly/contracts';
import { CircuitBreakers, providerDefinitions } from '@mayfly/domain';
import {
  HandleBox,
  loadSigningKeys,
  loadVerificationKeys,
  tokenKinds,
  TokenSigner,
  TokenVerifier,
} from '@mayfly/tokens';
import { exportJWK, generateKeyPair } from 'jose';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Admission } from '../providers/admission.ts';
import { sealHandle } from '../lease-handle.ts';
import type { Provider } from '../providers/provider.ts';
import { ProviderUnavailable, ProviderRejected } from '../providers/provider-error.ts';
import { ProviderRunner, type RenewCall } from '../providers/provider-runner.ts';
import { SecretReader } from '../secrets/secret-reader.ts';
import { RenewAtProvider } from './renew-at-provider.ts';

describe('RenewAtProvider', () => {
  let folder: string;
  let handles: HandleBox;
  let signer: TokenSigner<RenewalClaims>;
  let stranger: TokenSigner<RenewalClaims>;
  let verifier: TokenVerifier<RenewalClaims>;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mayfly-renew-'));
    const write = (name: string, key: object) => {
      const path = join(folder, name);
      writeFileSync(path, JSON.stringify({ keys: [key] }), { mode: 0o600 });
      return path;
    };
    const key = { kid: 'k1', alg: 'EdDSA', use: 'sig' };
    const [own, other] = [
      await generateKeyPair('EdDSA', { extractable: true }),
      await generateKeyPair('EdDSA', { extractable: true }),
    ];
    const signing = async (name: string, { privateKey }: typeof own) =>
      new TokenSigner(
        tokenKinds.renewal,
        await loadSigningKeys(write(name, { ...(await exportJWK(privateKey)), ...key })),
      );
    [signer, stranger] = [await signing('own', own), await signing('other', other)];
    verifier = new TokenVerifier(
      tokenKinds.renewal,
      await loadVerificationKeys(write('public', { ...(await exportJWK(own.publicKey)), ...key })),
      { audience: 'mayfly-minting' },
    );
    handles = await HandleBox.load(
      write('handle', { kty: 'oct', kid: 'h1', k: randomBytes(32).toString('base64url') }),
    );
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const leaseId = crypto.randomUUID();
  const integration = { name: 'shop-db', settings: { admin: 'env:SHOP' }, secret_references: ['env:SHOP'] };
  const native = new Date('2030-01-01T00:00:00Z');
  let calls: RenewCall[];
  let answer: () => Promise<{ nativeExpiresAt?: Date } | 'gone'>;
  let renewals: RenewAtProvider;
  let breakers: CircuitBreakers;
  let claims: RenewalClaims;

  beforeEach(() => {
    calls = [];
    answer = () => Promise.resolve({ nativeExpiresAt: native });
    breakers = new CircuitBreakers({ failures: 3, openMs: 60_000 });
    renewals = new RenewAtProvider({
      grants: verifier,
      handles,
      admission: new Admission({ perIntegration: 1, perOrganization: 100, queue: 1, waitMs: 100 }),
      breakers,
      runner: {
        renew: (call) => {
          calls.push(call);
          return answer();
        },
      },
    });
    claims = {
      jti: crypto.randomUUID(),
      lease_id: leaseId,
      granted_at: new Date().toISOString(),
      actor: {
        organization: 'acme',
        session_id: crypto.randomUUID(),
        agent_id: 'spiffe://acme.example/agent/a/b/c',
      },
      asker: { session_id: crypto.randomUUID() },
      source_ip: '192.0.2.1',
      credential: 'shop-db/readonly',
      provider: 'postgres',
      integration: 'shop-db',
      ttl_seconds: 300,
      expires_at: new Date(Date.now() + 300_000).toISOString(),
      limit: 'ttl',
      max_life_seconds: 3600,
      max_count: 3,
      policy_ids: [],
      config_version: 1,
    };
  });

  const sealed = (changes: { jti?: string; organization?: string } = {}) =>
    sealHandle(
      handles,
      {
        jti: changes.jti ?? leaseId,
        actor: { organization: changes.organization ?? 'acme' },
        provider: 'postgres',
        integration,
      } as unknown as GrantClaims,
      { narrowed: true },
    );
  const input = async (changes: Partial<Parameters<RenewAtProvider['renew']>[0]> = {}) => ({
    grant: await signer.sign(claims, { now: new Date() }),
    handle: await sealed(),
    ttl_seconds: 300,
    native_not_after: new Date(Date.parse(claims.expires_at) + 60_000).toISOString(),
    ...changes,
  });

  it('prolongs by the integration as it was at the mint', async () => {
    const asked = await input();
    expect(await renewals.renew(asked)).toEqual({ native_expires_at: native.toISOString() });
    expect(calls).toEqual([
      {
        leaseId,
        organization: 'acme',
        provider: 'postgres',
        integration,
        handle: { narrowed: true },
        ttlSeconds: 300,
        notAfter: new Date(asked.native_not_after),
      },
    ]);
  });

  it('prolongs nothing without policy’s signature, nor for longer than it says', async () => {
    for (const wrong of [
      { grant: await stranger.sign(claims, { now: new Date() }) },
      { grant: await signer.sign(claims, { now: new Date(Date.now() - 120_000) }) },
      { ttl_seconds: 302 },
      { native_not_after: new Date(Date.parse(claims.expires_at) + 61_000).toISOString() },
    ]) {
      await expect(renewals.renew(await input(wrong))).rejects.toMatchObject({ code: 'unauthenticated' });
    }
    expect(calls).toEqual([]);
  });

  it('I5: opens no handle of another lease or organization', async () => {
    for (const handle of [
      await sealed({ jti: crypto.randomUUID() }),
      await sealed({ organization: 'globex' }),
    ]) {
      await expect(renewals.renew(await input({ handle }))).rejects.toMatchObject({
        code: 'invalid_request',
      });
    }
    claims = { ...claims, provider: 'jwt' };
    await expect(renewals.renew(await input())).rejects.toMatchObject({ code: 'invalid_request' });
    expect(calls).toEqual([]);
  });

  it('says that a lease has ended whose role is gone, and tells failures without the upstream’s words', async () => {
    answer = () => Promise.resolve('gone');
    await expect(renewals.renew(await input())).rejects.toMatchObject({ code: 'lease_ended' });
    answer = () => Promise.reject(new ProviderUnavailable('away', { cause: new Error('upstream words') }));
    await expect(renewals.renew(await input())).rejects.toMatchObject({
      code: 'provider_unavailable',
      reason: 'away',
    });
  });

  it('leaves an upstream alone that mints or renewals could not reach, for as long as the breaker says', async () => {
    const place = 'acme/shop-db';
    for (let failed = 0; failed < 2; failed++) breakers.failed(place, performance.now());
    answer = () => Promise.reject(new ProviderUnavailable('away'));
    const unavailable = { code: 'provider_unavailable' };
    await expect(renewals.renew(await input())).rejects.toMatchObject({ ...unavailable, reason: 'away' });
    await expect(renewals.renew(await input())).rejects.toMatchObject(unavailable);
    expect(calls).toHaveLength(1);
    expect(breakers.mayTry(place, performance.now())).toBe(false);
  });

  it('counts an answer, if only a refusal, as a sign of life', async () => {
    for (const next of [
      () => Promise.resolve('gone' as const),
      () => Promise.reject(new ProviderRejected('no')),
      () => Promise.resolve({}),
    ]) {
      for (let failed = 0; failed < 2; failed++) breakers.failed('acme/shop-db', performance.now());
      answer = next;
      await renewals.renew(await input()).catch(() => undefined);
      breakers.failed('acme/shop-db', performance.now());
      expect(breakers.open).toBe(0);
      breakers.succeeded('acme/shop-db');
    }
  });

  it('piles nothing up at an upstream that hangs: so many wait, for so long, and then nobody', async () => {
    let asked = 0;
    const hanging = {
      definition: providerDefinitions.get('postgres'),
      renew: () => {
        asked++;
        return new Promise(() => undefined);
      },
    } as unknown as Provider;
    const hung = new RenewAtProvider({
      grants: verifier,
      handles,
      breakers,
      admission: new Admission({ perIntegration: 2, perOrganization: 100, queue: 1, waitMs: 5_000 }),
      runner: new ProviderRunner({
        providers: new Map([['postgres', hanging]]),
        secrets: new SecretReader({ ownPaths: [] }),
        deadlineMs: 50,
      }),
    });
    const asking = await Promise.all(Array.from({ length: 8 }, () => input()));
    const codes = await Promise.all(
      asking.map((one) => hung.renew(one).catch((error: unknown) => (error as MayflyError).code)),
    );
    expect(new Set(codes)).toEqual(new Set(['provider_unavailable']));
    // Two had a place and one waited for one.
    expect(asked).toBe(3);
    await expect(hung.renew(await input())).rejects.toMatchObject({ code: 'provider_unavailable' });
    expect(asked).toBe(3);
  });
});
