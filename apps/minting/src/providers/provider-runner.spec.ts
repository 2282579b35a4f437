import { beforeEach, describe, expect, it } from '@jest/globals';
import { MayflyError } from '@mayfly/contracts';
import { jwtDefinition, Secret } from '@mayfly/domain';
import { SecretReader } from '../secrets/secret-reader.ts';
import { ProviderRejected } from './provider-error.ts';
import type { LeaseContext, MintContext, Minted, Provider } from './provider.ts';
import { ProviderRunner, type MintCall } from './provider-runner.ts';

const minted: Minted = { secret: new Secret('{}'), handle: {}, fingerprints: [], useKeys: {} };

describe('ProviderRunner', () => {
  let contexts: MintContext<object, object, object>[];
  let ending: LeaseContext<object>[];
  let mint: (context: MintContext<object, object, object>) => Promise<Minted>;
  let runner: ProviderRunner;

  beforeEach(() => {
    contexts = [];
    ending = [];
    mint = () => Promise.resolve(minted);
    const provider: Provider = {
      definition: jwtDefinition,
      mint: (context) => {
        contexts.push(context);
        return mint(context);
      },
      revoke: (context) => {
        ending.push(context);
        return Promise.reject(new TypeError('a defect'));
      },
      reconcile: (context) => {
        ending.push(context);
        return Promise.reject(new MayflyError('dependency_unavailable', 'a key file cannot be read'));
      },
    };
    runner = new ProviderRunner({
      providers: new Map([['jwt', provider]]),
      secrets: new SecretReader({ ownPaths: [], environment: { ACME_X: 'acme', GLOBEX_X: 'globex' } }),
      deadlineMs: 20_000,
    });
  });

  const call: MintCall = {
    leaseId: crypto.randomUUID(),
    organization: 'acme',
    provider: 'jwt',
    integration: { name: 'tool', settings: { audience: 'https://tool' }, secret_references: ['env:ACME_'] },
    settings: {},
    bounds: { scopes: ['read:a:*'] },
    scope: { scopes: ['read:a:1'] },
    ttlSeconds: 60,
    grantedAt: new Date(),
    agentId: 'spiffe://acme.example/agent/a/b/c',
  };
  const late: Minted[] = [];
  const run = (more: Partial<MintCall> = {}, timeLeftMs = 20_000) =>
    runner.mint({ ...call, ...more }, timeLeftMs, (made) => late.push(made));

  it('I5: resolves secrets only within the prefixes that policy signed', async () => {
    await run();
    expect((await contexts[0]?.secrets('env:ACME_X'))?.reveal()).toBe('acme');
    await expect(contexts[0]?.secrets('env:GLOBEX_X')).rejects.toThrow(ProviderRejected);
  });

  it('says which calls go first where calls wait: those that end something', async () => {
    await run();
    expect(contexts[0]?.deadline.isVital).toBe(false);
    await runner.revoke({ ...call, handle: {} }).catch(() => undefined);
    await runner.reconcile(call).catch(() => undefined);
    expect(ending.map((context) => context.deadline.isVital)).toEqual([true, true]);
  });

  it.each([
    ['an unknown provider', { provider: 'unknown' }],
    ['settings of another form', { integration: { ...call.integration, settings: { admin: 'env:ACME_X' } } }],
    ['a scope of another form', { scope: { scopes: ['read'] } }],
    ['bounds of another form', { bounds: {} }],
    ['credential settings of another form', { settings: { more: true } }],
  ])('refuses %s before the provider sees it', async (_, more) => {
    await expect(run(more)).rejects.toMatchObject({ code: 'provider_rejected', effect: 'none' });
    expect(contexts).toEqual([]);
  });

  it('does not wait longer than there is time, and tells what came after all', async () => {
    const { promise, resolve } = Promise.withResolvers<Minted>();
    mint = () => promise;
    await expect(run({}, 20)).rejects.toMatchObject({ code: 'provider_unavailable', effect: 'unknown' });
    expect(late).toEqual([]);
    resolve(minted);
    await promise;
    expect(late).toEqual([minted]);
  });

  it('takes what it does not know for an unknown effect, without its words', async () => {
    const failed = await runner.revoke({ ...call, handle: {} }).catch((error: unknown) => error);
    expect(failed).toMatchObject({
      code: 'provider_unavailable',
      effect: 'unknown',
      reason: 'the provider failed',
    });
    await expect(runner.reconcile(call)).rejects.toMatchObject({ code: 'provider_unavailable' });
  });
});
