/** The order of a mint and what is left of one that fails. Real keys and tokens; the bus and the upstream are stood in for. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { bus, MayflyError, type GrantClaims, type MayflyEvent } from '@mayfly/contracts';
import { CircuitBreakers, Secret } from '@mayfly/domain';
import { PeerBreaker } from '@mayfly/messaging';
import {
  generateSealingKeyPair,
  HandleBox,
  loadSigningKeys,
  loadVerificationKeys,
  tokenKinds,
  TokenSigner,
  TokenVerifier,
  type SealingKeyPair,
} from '@mayfly/tokens';
import { exportJWK, generateKeyPair } from 'jose';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ProviderRejected, ProviderUnavailable } from '../providers/provider-error.ts';
import type { Minted } from '../providers/provider.ts';
import type { MintCall, ProviderRunner } from '../providers/provider-runner.ts';
import { Admission } from '../providers/admission.ts';
import { IssueLease } from './issue-lease.ts';
import { Withdrawals } from './withdrawals.ts';

const password = 'the secret that was minted';
const minted: Minted = {
  secret: new Secret(JSON.stringify({ password })),
  handle: { narrowed: false },
  nativeExpiresAt: new Date('2030-01-01T00:00:00Z'),
  fingerprints: [{ part: 'password', sha256: 'a'.repeat(64) }],
  useKeys: { 'postgres.role': 'mayfly_x' },
};

describe('IssueLease', () => {
  let folder: string;
  let signer: TokenSigner<GrantClaims>;
  let otherSigner: TokenSigner<GrantClaims>;
  let grants: TokenVerifier<GrantClaims>;
  let handles: HandleBox;
  let recipient: SealingKeyPair;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mayfly-issue-'));
    const write = (name: string, key: object) => {
      const path = join(folder, `${name}.jwks.json`);
      writeFileSync(path, JSON.stringify({ keys: [key] }), { mode: 0o600 });
      return path;
    };
    const signing = async (name: string) => {
      const { privateKey, publicKey } = await generateKeyPair('EdDSA', { extractable: true });
      const key = { kid: 'k1', alg: 'EdDSA', use: 'sig' };
      return {
        signing: await loadSigningKeys(write(name, { ...(await exportJWK(privateKey)), ...key })),
        path: write(`${name}-public`, { ...(await exportJWK(publicKey)), ...key }),
      };
    };
    const [policy, other] = [await signing('grant'), await signing('other')];
    signer = new TokenSigner(tokenKinds.grant, policy.signing);
    otherSigner = new TokenSigner(tokenKinds.grant, other.signing);
    grants = new TokenVerifier(tokenKinds.grant, await loadVerificationKeys(policy.path), {
      audience: 'mayfly-minting',
    });
    handles = await HandleBox.load(
      write('handle', { kty: 'oct', kid: 'h1', k: randomBytes(32).toString('base64url') }),
    );
    recipient = await generateSealingKeyPair();
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  /** What happened, in order. */
  let steps: string[];
  let published: MayflyEvent[];
  let told: Record<string, unknown>[];
  let calls: MintCall[];
  let behaviour: {
    publish: () => Promise<{ duplicate: boolean }>;
    mint: (onLate: (late: Minted) => void) => Promise<Minted>;
    activate: () => Promise<unknown>;
    revoke: () => Promise<'revoked'>;
    abandon: () => Promise<unknown>;
  };
  let issueLease: IssueLease;

  beforeEach(() => {
    [steps, published, told, calls] = [[], [], [], []];
    behaviour = {
      publish: () => Promise.resolve({ duplicate: false }),
      mint: () => Promise.resolve(minted),
      activate: () =>
        Promise.resolve({ issued_at: '2026-11-20T12:00:00.000Z', expires_at: '2026-11-20T12:05:00.000Z' }),
      revoke: () => Promise.resolve('revoked'),
      abandon: () => Promise.resolve({}),
    };
    const runner: Pick<ProviderRunner, 'mint' | 'revoke'> = {
      mint: (call, _timeLeftMs, onLate) => {
        steps.push('mint');
        calls.push(call);
        return behaviour.mint(onLate);
      },
      revoke: () => {
        steps.push('revoke');
        return behaviour.revoke();
      },
    };
    const client = {
      call: (operation: { name: string }, input: unknown) => {
        steps.push(operation.name);
        told.push(input as Record<string, unknown>);
        return operation === bus.revocation.activate ? behaviour.activate() : behaviour.abandon();
      },
    } as unknown as ConstructorParameters<typeof IssueLease>[0]['client'];
    const revocation = new PeerBreaker({
      peer: 'revocation',
      failures: 3,
      openMs: 60_000,
      logger: { warn: () => undefined },
    });
    const withdrawals = new Withdrawals({
      runner,
      client,
      revocation,
      handles,
      logger: { warn: () => undefined },
      retryPausesMs: [1],
    });
    issueLease = new IssueLease({
      grants,
      publisher: {
        publish: (event, options) => {
          steps.push(`publish ${options?.messageId ?? ''}`);
          published.push(event);
          return behaviour.publish();
        },
      },
      client,
      handles,
      runner,
      admission: new Admission({ perIntegration: 2, perOrganization: 100, queue: 2, waitMs: 1000 }),
      withdrawals,
      breakers: new CircuitBreakers({ failures: 3, openMs: 60_000 }),
      revocation,
    });
  });

  const claims = (more: Partial<GrantClaims> = {}): GrantClaims => ({
    jti: crypto.randomUUID(),
    actor: {
      organization: 'acme',
      session_id: crypto.randomUUID(),
      agent_id: 'spiffe://acme.example/agent/ci/build/1',
      user: 'ann',
    },
    source_ip: '192.0.2.1',
    credential: 'shop-db/readonly',
    provider: 'postgres',
    integration: { name: 'shop-db', settings: { admin: 'env:SHOP' }, secret_references: ['env:SHOP'] },
    settings: {},
    bounds: { privileges: ['SELECT'], schemas: ['public'] },
    scope: { privileges: ['SELECT'], schemas: ['public'] },
    ttl_seconds: 300,
    session_expires_at: new Date(Date.now() + 3_600_000).toISOString(),
    recipient_key: recipient.publicJwk,
    recipient: 'session',
    granted_at: new Date().toISOString(),
    policy_ids: ['p'],
    config_version: 1,
    ...more,
  });
  const sign = (grant: GrantClaims) => signer.sign(grant, { now: new Date() });
  const failure = (work: Promise<unknown>) =>
    work.then(
      () => undefined,
      (error: unknown) => error as MayflyError,
    );

  it('fails at once, before the intent, while its integration can not be reached', async () => {
    const working = behaviour.mint;
    behaviour.mint = () => Promise.reject(new ProviderUnavailable('the database is away'));
    const codes: unknown[] = [];
    for (let count = 0; count < 4; count++)
      codes.push((await failure(issueLease.issue(await sign(claims()))))?.code);
    expect(codes).toEqual(Array(4).fill('provider_unavailable'));
    expect(steps.filter((step) => step === 'mint')).toHaveLength(3);
    expect(steps.filter((step) => step.startsWith('publish'))).toHaveLength(3);
    behaviour.mint = working;
    const elsewhere = claims({ integration: { ...claims().integration, name: 'other-db' } });
    await expect(issueLease.issue(await sign(elsewhere))).resolves.toMatchObject({ lease_id: elsewhere.jti });
  });

  it('makes nothing, not even an intent, while the register that would have to activate it is silent', async () => {
    const silence = () => Promise.reject(new MayflyError('dependency_unavailable', 'silent'));
    behaviour.activate = behaviour.abandon = silence;
    for (let count = 0; count < 2; count++) await failure(issueLease.issue(await sign(claims())));
    steps.length = 0;
    expect((await failure(issueLease.issue(await sign(claims()))))?.code).toBe('dependency_unavailable');
    expect(steps).toEqual([]);
  });

  it.each([
    ['refuses', () => Promise.reject(new MayflyError('lease_ended', 'no'))],
    [
      'is silent about activations but hears of withdrawals',
      () => Promise.reject(new MayflyError('dependency_unavailable', 'silent')),
    ],
  ])('goes on while the register %s', async (_, activate) => {
    behaviour.activate = activate;
    for (let count = 0; count < 4; count++) await failure(issueLease.issue(await sign(claims())));
    expect(steps.filter((step) => step === 'mint')).toHaveLength(4);
  });

  it('I2: records the intent, mints, activates, and only then releases the secret, sealed to the recipient', async () => {
    const grant = claims();
    const issued = await issueLease.issue(await sign(grant));
    expect(steps).toEqual([`publish ${grant.jti}`, 'mint', 'revocation.activate']);
    expect(bus.minting.issue.output.parse(issued)).toEqual(issued);
    expect(JSON.parse(await recipient.open(issued.sealed))).toEqual({ password });
    expect(JSON.stringify([issued, published, told])).not.toContain(password);
    expect(issued).toMatchObject({
      lease_id: grant.jti,
      expires_at: '2026-11-20T12:05:00.000Z',
      native_expires_at: '2030-01-01T00:00:00.000Z',
      revocability: { kind: 'immediate' },
    });
    const binding = { leaseId: grant.jti, organization: 'acme', integration: 'shop-db' };
    expect(await handles.open(String(told[0]?.['handle']), binding)).toEqual({
      version: 1,
      provider: 'postgres',
      integration_settings: { admin: 'env:SHOP' },
      secret_references: ['env:SHOP'],
      handle: { narrowed: false },
    });
  });

  it('names the same trace in the intent, the activation and the answer', async () => {
    const issued = await issueLease.issue(await sign(claims()));
    const traceparent = String(told[0]?.['issuance_traceparent']);
    expect(traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    expect(published[0]?.traceparent).toBe(traceparent);
    expect(issued.trace_id).toBe(traceparent.split('-')[1]);
    expect(published[0]?.data.trace_id).toBe(issued.trace_id);
  });

  it('I3: does nothing else for a grant that was redeemed before', async () => {
    behaviour.publish = () => Promise.resolve({ duplicate: true });
    expect((await failure(issueLease.issue(await sign(claims()))))?.code).toBe('conflict');
    expect(steps).toHaveLength(1);
  });

  it('I3: does nothing at all for a grant that is forged, expired or for somebody else', async () => {
    const grant = claims();
    const signed = await sign(grant);
    const [header, , signature] = signed.split('.');
    const altered = Buffer.from(JSON.stringify({ ...grant, ttl_seconds: 3600 })).toString('base64url');
    for (const bad of [
      await otherSigner.sign(grant, { now: new Date() }),
      await signer.sign(grant, { now: new Date(Date.now() - 120_000) }),
      await signer.sign(grant, { now: new Date(), audience: 'mayfly-revocation' }),
      `${String(header)}.${altered}.${String(signature)}`,
    ]) {
      expect((await failure(issueLease.issue(bad)))?.code).toBe('unauthenticated');
    }
    expect(steps).toEqual([]);
  });

  it('mints nothing when the intent cannot be stored', async () => {
    behaviour.publish = () =>
      Promise.reject(new MayflyError('dependency_unavailable', 'the event log is full'));
    expect((await failure(issueLease.issue(await sign(claims()))))?.code).toBe('dependency_unavailable');
    expect(steps).toHaveLength(1);
  });

  it.each([
    [
      'done',
      new ProviderRejected('a schema of the scope does not exist', { cause: new Error('upstream words') }),
    ],
    ['pending', new ProviderUnavailable('the upstream did not answer in time', { effect: 'unknown' })],
    ['pending', new Error('a defect')],
  ])(
    'says %s of the cleanup when the provider fails, and nothing of the upstream’s words',
    async (cleanup, error) => {
      behaviour.mint = () => Promise.reject(error);
      const answered = await failure(issueLease.issue(await sign(claims())));
      expect(answered?.code).toMatch(/^provider_/);
      expect(answered?.message).not.toContain('words');
      expect(steps.slice(1)).toEqual(['mint', 'revocation.abandon']);
      expect(told[0]).toMatchObject({ cleanup, reason: answered?.code });
    },
  );

  it.each(['lease_ended', 'conflict', 'dependency_unavailable'] as const)(
    'I2: revokes and releases nothing when the activation is answered with %s',
    async (code) => {
      behaviour.activate = () => Promise.reject(new MayflyError(code, 'no'));
      expect((await failure(issueLease.issue(await sign(claims()))))?.code).toBe(code);
      expect(steps.slice(1)).toEqual(['mint', 'revocation.activate', 'revoke', 'revocation.abandon']);
      expect(told[1]).toMatchObject({ cleanup: 'done', reason: code });
      expect(bus.revocation.abandon.input.safeParse(told[1]).success).toBe(true);
    },
  );

  it('hands the handle over when what it made cannot be revoked, and tells until it is heard', async () => {
    const grant = claims();
    behaviour.activate = () => Promise.reject(new MayflyError('lease_ended', 'no'));
    behaviour.revoke = () => Promise.reject(new ProviderUnavailable('gone'));
    let heard = 0;
    behaviour.abandon = () => (heard++ === 0 ? Promise.reject(new Error('silence')) : Promise.resolve({}));
    await failure(issueLease.issue(await sign(grant)));
    expect(steps.slice(-2)).toEqual(['revocation.abandon', 'revocation.abandon']);
    expect(told.at(-1)).toMatchObject({ cleanup: 'pending' });
    const binding = { leaseId: grant.jti, organization: 'acme', integration: 'shop-db' };
    expect(await handles.open(String(told.at(-1)?.['handle']), binding)).toMatchObject({ version: 1 });
  });

  it('activates nothing for a recipient key that nothing can be sealed to', async () => {
    const small: GrantClaims['recipient_key'] = { kty: 'OKP', crv: 'X25519', x: 'A'.repeat(43) };
    await failure(issueLease.issue(await sign(claims({ recipient_key: small }))));
    expect(steps.slice(1)).toEqual(['mint', 'revoke', 'revocation.abandon']);
  });

  it('revokes what a provider makes after its deadline', async () => {
    let onLate: ((late: Minted) => void) | undefined;
    behaviour.mint = (late) => {
      onLate = late;
      return Promise.reject(new ProviderUnavailable('too late', { effect: 'unknown' }));
    };
    await failure(issueLease.issue(await sign(claims())));
    expect(steps).not.toContain('revoke');
    onLate?.(minted);
    expect(steps).toContain('revoke');
  });

  it('gives the provider what policy signed and nothing more', async () => {
    const grant = claims();
    await issueLease.issue(await sign(grant));
    const { leaseId, organization, integration, scope, user, ttlSeconds } = calls[0] as MintCall & {
      user: string;
    };
    expect({ leaseId, organization, integration, scope, user, ttlSeconds }).toEqual({
      leaseId: grant.jti,
      organization: 'acme',
      integration: grant.integration,
      scope: grant.scope,
      user: 'ann',
      ttlSeconds: 300,
    });
  });
});
