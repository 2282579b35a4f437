/**
 * I3: a grant activates at most one lease, for its recipient, scope and TTL. Grants are brought straight to minting over the
 * bus, by somebody who has captured the gateway: its NATS user, and nothing else of value.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { bus, type GrantClaims } from '@mayfly/contracts';
import { BusClient, connectBus } from '@mayfly/messaging';
import { generateKeys } from '@mayfly/stack';
import { wholeStack } from '@mayfly/testing';
import {
  generateSealingKeyPair,
  keyFiles,
  loadSigningKeys,
  TokenSigner,
  tokenKinds,
  type SealingKeyPair,
} from '@mayfly/tokens';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';

const stack = wholeStack();

describe('I3: a grant', () => {
  let client: BusClient;
  let close: () => Promise<unknown>;
  let policy: TokenSigner<GrantClaims>;
  let forger: TokenSigner<GrantClaims>;
  let recipient: SealingKeyPair;
  let forgedKeys: string;
  let upstream: pg.Client;

  beforeAll(async () => {
    const connection = await connectBus({
      servers: stack.natsUrl,
      service: 'gateway',
      seedFile: join(stack.keysFolder, 'gateway', 'nats.nk'),
    });
    client = new BusClient(connection);
    close = () => connection.close();
    policy = new TokenSigner(
      tokenKinds.grant,
      await loadSigningKeys(keyFiles(stack.keysFolder).policy.grant),
    );
    forgedKeys = await mkdtemp(join(tmpdir(), 'mayfly-forged-'));
    await generateKeys(forgedKeys);
    forger = new TokenSigner(tokenKinds.grant, await loadSigningKeys(keyFiles(forgedKeys).policy.grant));
    recipient = await generateSealingKeyPair();
    upstream = new pg.Client({ connectionString: stack.ordersAdminUrl });
    await upstream.connect();
  });

  afterAll(async () => {
    await close();
    await upstream.end();
    await rm(forgedKeys, { recursive: true });
  });

  function claims(change: Partial<GrantClaims> = {}): GrantClaims {
    return {
      jti: uuidv7(),
      actor: {
        organization: 'acme',
        session_id: randomUUID(),
        agent_id: 'spiffe://acme.example/agent/security/I3/1',
        agent_role: 'analyst',
      },
      source_ip: '127.0.0.1',
      credential: 'orders-db/readonly',
      provider: 'postgres',
      integration: {
        name: 'orders-db',
        settings: { admin: 'env:ORDERS_ADMIN_URL' },
        secret_references: ['env:ORDERS_'],
      },
      settings: {},
      bounds: { privileges: ['SELECT'], schemas: ['public'] },
      scope: { privileges: ['SELECT'], schemas: ['public'] },
      ttl_seconds: 60,
      session_expires_at: new Date(Date.now() + 3_600_000).toISOString(),
      recipient_key: recipient.publicJwk,
      recipient: 'session',
      granted_at: new Date().toISOString(),
      policy_ids: [],
      config_version: 1,
      ...change,
    };
  }

  const roleOf = (leaseId: string) => `mayfly_${leaseId.replaceAll('-', '')}`;

  async function isUpstream(leaseId: string): Promise<boolean> {
    const { rowCount } = await upstream.query('SELECT FROM pg_roles WHERE rolname = $1', [roleOf(leaseId)]);
    return rowCount === 1;
  }

  it('of policy mints, for its recipient only', async () => {
    const grant = claims();
    const issued = await client.call(bus.minting.issue, {
      grant: await policy.sign(grant, { now: new Date() }),
    });
    expect(issued).toMatchObject({ lease_id: grant.jti, scope: grant.scope, ttl_seconds: 60 });
    expect(JSON.parse(await recipient.open(issued.sealed))).toMatchObject({ username: roleOf(grant.jti) });
    const other = await generateSealingKeyPair();
    await expect(other.open(issued.sealed)).rejects.toThrow();
  });

  it('mints once, also when it comes many times at once', async () => {
    const grant = claims();
    const signed = await policy.sign(grant, { now: new Date() });
    const results = await Promise.allSettled(
      Array.from({ length: 10 }, () => client.call(bus.minting.issue, { grant: signed })),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it.each<[string, (grant: GrantClaims) => Promise<string>]>([
    ['signed by somebody else', (grant) => forger.sign(grant, { now: new Date() })],
    ['that has expired', (grant) => policy.sign(grant, { now: new Date(Date.now() - 120_000) })],
    ['from the future', (grant) => policy.sign(grant, { now: new Date(Date.now() + 120_000) })],
    [
      'for another audience',
      (grant) => policy.sign(grant, { now: new Date(), audience: 'mayfly-revocation' }),
    ],
    [
      'whose scope was widened',
      (grant) =>
        altered(grant, (payload) => ({ ...payload, scope: { privileges: ['DELETE'], schemas: ['public'] } })),
    ],
    [
      'whose life was lengthened',
      (grant) => altered(grant, (payload) => ({ ...payload, ttl_seconds: 3600 })),
    ],
    [
      'that was readdressed',
      (grant) =>
        altered(grant, (payload) => ({
          ...payload,
          recipient_key: { kty: 'OKP', crv: 'X25519', x: 'A'.repeat(43) },
        })),
    ],
    [
      'whose signature was cut off',
      async (grant) =>
        `${(await policy.sign(grant, { now: new Date() })).split('.').slice(0, 2).join('.')}.AA`,
    ],
    ['of algorithm none', (grant) => unsigned(grant)],
  ])('%s releases nothing and leaves nothing upstream', async (_what, make) => {
    const grant = claims();
    await expect(client.call(bus.minting.issue, { grant: await make(grant) })).rejects.toMatchObject({
      code: 'unauthenticated',
    });
    expect(await isUpstream(grant.jti)).toBe(false);
  });

  it.each(['sessionToken', 'assertion', 'reconcileOrder'] as const)(
    'can not be replaced by a token of another kind: %s',
    async (kind) => {
      const files = keyFiles(stack.keysFolder).policy;
      const file =
        kind === 'sessionToken' ? files.sessionToken : kind === 'assertion' ? files.assertion : files.grant;
      const grant = claims();
      // The claims are a grant's; the kind (typ, audience, key) is not.
      const signer = new TokenSigner(
        { ...tokenKinds[kind], claims: tokenKinds.grant.claims },
        await loadSigningKeys(file),
      );
      const token = await signer.sign(grant, { now: new Date(), ttlSeconds: 30 });
      await expect(client.call(bus.minting.issue, { grant: token })).rejects.toMatchObject({
        code: 'unauthenticated',
      });
      expect(await isUpstream(grant.jti)).toBe(false);
    },
  );

  it('that names a secret reference outside its organization mints nothing', async () => {
    const grant = claims({
      integration: {
        name: 'orders-db',
        settings: { admin: 'env:ORDERS_ADMIN_URL' },
        secret_references: ['env:GLOBEX_'],
      },
    });
    const signed = await policy.sign(grant, { now: new Date() });
    await expect(client.call(bus.minting.issue, { grant: signed })).rejects.toMatchObject({
      code: expect.stringMatching(/provider_rejected|policy_denied/) as unknown,
    });
    expect(await isUpstream(grant.jti)).toBe(false);
  });

  async function altered(grant: GrantClaims, change: (payload: object) => object): Promise<string> {
    const [header, payload, signature] = (await policy.sign(grant, { now: new Date() })).split('.');
    const changed = change(JSON.parse(Buffer.from(payload ?? '', 'base64url').toString()) as object);
    return [header, Buffer.from(JSON.stringify(changed)).toString('base64url'), signature].join('.');
  }

  async function unsigned(grant: GrantClaims): Promise<string> {
    const [, payload] = (await policy.sign(grant, { now: new Date() })).split('.');
    return `${Buffer.from('{"alg":"none","typ":"mayfly-grant+jwt"}').toString('base64url')}.${payload ?? ''}.AA`;
  }
});
