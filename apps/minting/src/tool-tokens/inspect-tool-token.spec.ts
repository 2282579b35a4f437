import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MayflyError, type AssertionClaims } from '@mayfly/contracts';
import {
  generateSealingKeyPair,
  loadSigningKeys,
  sealTo,
  signToolToken,
  type SealingKeyPair,
  type SigningKeys,
} from '@mayfly/tokens';
import { exportJWK, generateKeyPair } from 'jose';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InspectToolToken } from './inspect-tool-token.ts';

const issuer = 'https://mayfly.example';

describe('InspectToolToken', () => {
  let folder: string;
  let keys: SigningKeys;
  let sealing: SealingKeyPair;
  let act: AssertionClaims['act'];
  let inspector: InspectToolToken;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mayfly-inspect-'));
    const { privateKey } = await generateKeyPair('EdDSA', { extractable: true });
    const path = join(folder, 'keys.json');
    const key = { ...(await exportJWK(privateKey)), kid: 't1', alg: 'EdDSA', use: 'sig' };
    writeFileSync(path, JSON.stringify({ keys: [key] }), { mode: 0o600 });
    keys = await loadSigningKeys(path);
    sealing = await generateSealingKeyPair();
    act = { action: 'introspect' };
    const verify = () =>
      Promise.resolve({
        jti: crypto.randomUUID(),
        actor: {
          organization: 'acme',
          session_id: crypto.randomUUID(),
          agent_id: 'spiffe://acme.example/agent/a/b/c',
        },
        kind: 'agent' as const,
        person_roles: [],
        act,
        iat: 0,
        exp: 0,
      });
    inspector = new InspectToolToken({ assertions: { verify }, sealing, keys, issuer });
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const inspect = async (token: string) =>
    inspector.inspect({ assertion: 'a.b.c', token: await sealTo(sealing.publicJwk, token) });
  const sign = (organization: string, options: { now?: Date; issuer?: string } = {}) =>
    signToolToken(
      keys,
      {
        jti: crypto.randomUUID(),
        sub: 'spiffe://acme.example/agent/a/b/c',
        scope: 'read:doc:1',
        organization,
      },
      { issuer, audience: 'https://tool.example', now: new Date(), ttlSeconds: 60, ...options },
    );

  it('tells the claims of a token of the same organization', async () => {
    const answer = await inspect(await sign('acme'));
    expect(answer).toMatchObject({
      valid: true,
      claims: { organization: 'acme', iss: issuer, scope: 'read:doc:1' },
    });
  });

  it('I5: calls a token of another organization invalid, and says no more', async () => {
    expect(await inspect(await sign('globex'))).toEqual({ valid: false });
  });

  it('calls expired, foreign, altered and unreadable tokens invalid', async () => {
    const good = await sign('acme');
    for (const token of [
      await sign('acme', { now: new Date(Date.now() - 61_000) }),
      await sign('acme', { issuer: 'https://other.example' }),
      `${good.slice(0, -3)}AAA`,
      'nonsense',
    ]) {
      expect(await inspect(token)).toEqual({ valid: false });
    }
    const toAnother = await sealTo((await generateSealingKeyPair()).publicJwk, good);
    expect(await inspector.inspect({ assertion: 'a.b.c', token: toAnother })).toEqual({ valid: false });
  });

  it('refuses an assertion that was made for another act', async () => {
    act = { action: 'list_leases' };
    await expect(inspect(await sign('acme'))).rejects.toThrow(MayflyError);
    act = { action: 'introspect' };
  });
});
