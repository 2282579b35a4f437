import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { MayflyError, type GrantClaims, type JsonObject, type ReconcileClaims } from '@mayfly/contracts';
import { withDeadline } from '@mayfly/messaging';
import { HandleBox } from '@mayfly/tokens';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { join } from 'node:path';
import { sealHandle } from '../lease-handle.ts';
import { ProviderUnavailable } from '../providers/provider-error.ts';
import { EndAtProvider } from './end-at-provider.ts';

describe('EndAtProvider', () => {
  let folder: string;
  let handles: HandleBox;
  let calls: unknown[];
  let failing: boolean;
  let upstream: Promise<unknown>;
  let ends: EndAtProvider;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mayfly-end-'));
    const path = join(folder, 'handle.json');
    const key = { kty: 'oct', kid: 'h1', k: randomBytes(32).toString('base64url') };
    writeFileSync(path, JSON.stringify({ keys: [key] }), { mode: 0o600 });
    handles = await HandleBox.load(path);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const integration = { name: 'shop-db', settings: { admin: 'env:SHOP' }, secret_references: ['env:SHOP'] };
  const leaseId = crypto.randomUUID();
  const order: ReconcileClaims = {
    jti: leaseId,
    organization: 'acme',
    credential: 'shop-db/readonly',
    provider: 'postgres',
    integration,
    settings: {},
    config_version: 1,
  };

  beforeEach(() => {
    [calls, failing] = [[], false];
    upstream = Promise.resolve();
    const answer = <T>(value: T) => {
      if (failing)
        return Promise.reject(new ProviderUnavailable('gone', { cause: new Error('upstream words') }));
      return upstream.then(() => value);
    };
    ends = new EndAtProvider({
      handles,
      orders: {
        verify: (token) =>
          token === 'signed'
            ? Promise.resolve({ ...order, iat: 0, exp: 0 })
            : Promise.reject(new MayflyError('unauthenticated', 'no')),
      },
      sweeps: {
        verify: (token) =>
          token === 'sweep'
            ? Promise.resolve({ ...order, mark: 'abcdef0123', iat: 0, exp: 0 })
            : Promise.reject(new MayflyError('unauthenticated', 'no')),
      },
      runner: {
        list: (call) => {
          calls.push(call);
          return answer([leaseId]);
        },
        inspect: (call) => {
          calls.push(call);
          return answer('present' as const);
        },
        revoke: (call) => {
          calls.push(call);
          return answer('revoked' as const);
        },
        cleanUp: (call) => {
          calls.push(call);
          return answer(undefined);
        },
        reconcile: (call) => {
          calls.push(call);
          return answer({ outcome: 'removed' as const });
        },
      },
    });
  });

  const sealed = (narrowed: unknown = true) => {
    const grant = { jti: leaseId, actor: { organization: 'acme' }, provider: 'postgres', integration };
    return sealHandle(handles, grant as unknown as GrantClaims, { narrowed } as JsonObject);
  };
  const input = async () => ({
    lease_id: leaseId,
    organization: 'acme',
    integration: 'shop-db',
    provider: 'postgres',
    handle: await sealed(),
  });

  it('revokes by the integration as it was at the mint', async () => {
    expect(await ends.revoke(await input())).toEqual({ outcome: 'revoked' });
    expect(calls).toEqual([
      { leaseId, organization: 'acme', provider: 'postgres', integration, handle: { narrowed: true } },
    ]);
  });

  it('I5: opens no handle for another lease, organization, integration or provider', async () => {
    for (const other of [
      { lease_id: crypto.randomUUID() },
      { organization: 'globex' },
      { integration: 'other-db' },
      { provider: 'jwt' },
    ]) {
      await expect(ends.revoke({ ...(await input()), ...other })).rejects.toMatchObject({
        code: 'invalid_request',
      });
    }
    expect(calls).toEqual([]);
  });

  it('reconciles by an order of policy alone', async () => {
    expect(await ends.reconcile('signed')).toEqual({ outcome: 'removed' });
    expect(calls).toEqual([
      { leaseId, organization: 'acme', provider: 'postgres', integration, settings: {} },
    ]);
    await expect(ends.reconcile('forged')).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  it('asks a slow upstream once, however often it is asked meanwhile, and again when that is over', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    upstream = promise;
    const [first, second] = [await input(), await input()];
    const asked = [ends.revoke(first)];
    while (calls.length < 1) await nextTurn();
    const looked = [ends.reconcile('signed'), ends.reconcile('signed')];
    const open = handles.open.bind(handles);
    const opened = new Promise<void>((done) => {
      handles.open = async (...binding) => {
        const content = await open(...binding);
        setImmediate(done);
        return content;
      };
    });
    asked.push(ends.revoke(second));
    await opened;
    handles.open = open;
    resolve();
    expect(await Promise.all(asked)).toEqual(Array(2).fill({ outcome: 'revoked' }));
    expect(await Promise.all(looked)).toEqual(Array(2).fill({ outcome: 'removed' }));
    expect(calls).toHaveLength(2);
    await ends.revoke(await input());
    expect(calls).toHaveLength(3);
  });

  it('says in time that a slow upstream is still at it, and who asks again joins it', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    upstream = promise;
    const given = await input();
    const started = performance.now();
    expect(await withDeadline(200, () => ends.revoke(given))).toEqual({ outcome: 'under_way' });
    expect(performance.now() - started).toBeLessThan(200);
    expect(await withDeadline(40, () => ends.reconcile('signed'))).toEqual({ outcome: 'under_way' });
    const again = withDeadline(10_000, () => ends.revoke(given));
    // It came later, and has joined.
    expect(await withDeadline(40, () => ends.revoke(given))).toEqual({ outcome: 'under_way' });
    resolve();
    expect(await again).toEqual({ outcome: 'revoked' });
    expect(calls).toHaveLength(2);
  });

  it('takes the answer for one handle for no other of the same lease', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    upstream = promise;
    const asked = [
      ends.revoke(await input()),
      ends.revoke({ ...(await input()), handle: await sealed('other') }),
    ];
    while (calls.length < 2) await nextTurn();
    resolve();
    expect(await Promise.all(asked)).toEqual(Array(2).fill({ outcome: 'revoked' }));
    expect(calls).toMatchObject([{ handle: { narrowed: true } }, { handle: { narrowed: 'other' } }]);
  });

  it('tells a failure by its code, without the words of the upstream', async () => {
    failing = true;
    const error = await ends.revoke(await input()).catch((thrown: unknown) => thrown as MayflyError);
    expect(error).toMatchObject({ code: 'provider_unavailable', reason: 'gone' });
    await expect(ends.reconcile('signed')).rejects.toMatchObject({ code: 'provider_unavailable' });
  });

  it('lists by an order of policy alone, what bears the mark in it', async () => {
    expect(await ends.list({ order: 'sweep', after: leaseId })).toEqual({
      outcome: 'listed',
      lease_ids: [leaseId],
      more: false,
    });
    expect(calls).toMatchObject([{ organization: 'acme', integration, mark: 'abcdef0123', after: leaseId }]);
    await expect(ends.list({ order: 'signed' })).rejects.toMatchObject({ code: 'unauthenticated' });
  });
});
