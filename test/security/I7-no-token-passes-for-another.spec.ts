/**
 * I7: no kind of token passes for another. Each operation of the bus that takes a token is shown the claims that it wants, signed
 * with the real keys of every other kind, and the right kind signed with every other key. The list of those operations comes from the
 * contracts, so one that is added is tested too. (Binding a session token to a key, DPoP, is not there yet.)
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  busOperations,
  jwtTokenType,
  tokenExchangeGrantType,
  type BusOperation,
  type ServiceName,
} from '@mayfly/contracts';
import { BusClient, connectBus } from '@mayfly/messaging';
import { agentClaims, identityToken, openSession, wholeStack } from '@mayfly/testing';
import {
  generateSealingKeyPair,
  keyFiles,
  loadSealingPublicKey,
  loadSigningKeys,
  sealTo,
  TokenSigner,
  tokenKinds,
} from '@mayfly/tokens';
import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';

const stack = wholeStack();
const files = keyFiles(stack.keysFolder);

type Kind = keyof typeof tokenKinds;
const kinds = Object.keys(tokenKinds) as Kind[];

const signedWith: Record<Kind, string> = {
  sessionToken: files.policy.sessionToken,
  grant: files.policy.grant,
  assertion: files.policy.assertion,
  reconcileOrder: files.policy.grant,
  renewal: files.policy.grant,
  sweepOrder: files.policy.grant,
  checkpoint: files.audit.checkpoint,
  toolToken: files.minting.toolToken,
};

/** A place that takes a token: an operation of the bus, the field of its input, and the kind that belongs there. */
interface Place {
  readonly operation: BusOperation;
  readonly field: string;
  readonly kind: Kind;
}

const fieldsOf = ({ input }: BusOperation) => (input as z.ZodObject).shape as Record<string, z.ZodType>;

/** What a field of this name holds; where an operation means something else by it, its name goes before. */
const kindByField: Record<string, Kind> = {
  token: 'sessionToken',
  'minting.verify-tool-token token': 'toolToken',
  grant: 'grant',
  'minting.renew grant': 'renewal',
  'revocation.renew grant': 'renewal',
  assertion: 'assertion',
  order: 'reconcileOrder',
  'minting.list order': 'sweepOrder',
};

const places: Place[] = busOperations.flatMap((operation) =>
  Object.keys(fieldsOf(operation)).flatMap((field) => {
    const kind = kindByField[`${operation.name} ${field}`] ?? kindByField[field];
    return kind === undefined ? [] : [{ operation, field, kind }];
  }),
);

/** Required fields that are no tokens, by their names. */
const otherFields: Record<string, unknown> = {
  source_ip: '127.0.0.1',
  credential: 'nothing/here',
  lease_id: uuidv7(),
  block_id: uuidv7(),
  session_id: uuidv7(),
  act: { action: 'list_leases' },
  document: 'organizations: []',
  subject: { kind: 'user', id: 'nobody@example.com' },
  reason: 'test',
  revoke: false,
  issuance_traceparent: `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`,
  revocability: { kind: 'immediate' },
  fingerprints: [],
  use_keys: {},
  mint_id: randomUUID(),
  cleanup: 'done',
  handle: 'AA.AA.AA.AA.AA',
  token: 'AA.AA.AA.AA.AA',
  ttl_seconds: 60,
  native_not_after: new Date(Date.now() + 60_000).toISOString(),
};

describe('I7: a token', () => {
  const clients = new Map<ServiceName, BusClient>();
  const closing: (() => Promise<unknown>)[] = [];
  /** Claims that each kind's own verifier would take. */
  let claims: Record<Kind, () => Record<string, unknown>>;

  beforeAll(async () => {
    for (const service of ['gateway', 'policy', 'minting', 'revocation'] as const) {
      const seedFile = join(stack.keysFolder, service, 'nats.nk');
      const connection = await connectBus({ servers: stack.natsUrl, service, seedFile });
      closing.push(() => connection.close());
      clients.set(service, new BusClient(connection));
    }
    const recipient = await generateSealingKeyPair();
    otherFields['reply_key'] = recipient.publicJwk;
    const session = claimsOf((await openSession(stack)).sessionToken);
    claims = claimsByKind(session, recipient.publicJwk);
  });
  afterAll(() => Promise.all(closing.map((close) => close())));

  /**
   * The claims that belong to `wanted`, with `typ`, issuer and audience of the kind `as` (or those given), signed with the key of
   * the kind `keyOf`.
   */
  async function forge(
    wanted: Kind,
    {
      as = wanted,
      keyOf = as,
      ...changed
    }: { as?: Kind; keyOf?: Kind; issuer?: string; audience?: string } = {},
  ): Promise<string> {
    const kind = {
      issuer: stack.gatewayUrl,
      audience: 'https://reports.example',
      ...tokenKinds[as],
      claims: z.record(z.string(), z.unknown()),
      // What lives shorter than its kind may is fine with everybody.
      maxAgeSeconds: 30,
      ...changed,
    };
    const signer = new TokenSigner(kind, await loadSigningKeys(signedWith[keyOf]));
    return signer.sign(claims[wanted](), { now: new Date() });
  }

  /** All that must not pass for the kind of a place, by what is wrong with it. */
  async function forgeries({ operation, kind }: Place): Promise<Record<string, string>> {
    const forged: Record<string, string> = {
      'of another issuer': await forge(kind, { issuer: 'mayfly-somebody' }),
      'a platform identity': await identityToken(stack, agentClaims()),
    };
    for (const other of kinds.filter((each) => each !== kind)) {
      forged[`as ${other}`] = await forge(kind, { as: other });
      if (signedWith[other] !== signedWith[kind])
        forged[`with the key of ${other}`] = await forge(kind, { keyOf: other });
    }
    const own = `mayfly-${operation.bus.service}`;
    const audience = kind === 'toolToken' ? '' : tokenKinds[kind].audience;
    for (const other of typeof audience === 'string' ? [] : audience)
      if (other !== own) forged[`for ${other}`] = await forge(kind, { audience: other });
    return forged;
  }

  /** What becomes of a token at a place: `refused` as a token, or anything else. */
  async function show({ operation, field, kind }: Place, token: string): Promise<string> {
    const sealingKey = kind === 'toolToken' ? files.public.mintingSealing : files.public.policySealing;
    const isSealed = kind === 'sessionToken' || kind === 'toolToken';
    const input: Record<string, unknown> = {};
    for (const [name, schema] of Object.entries(fieldsOf(operation))) {
      if (name === field)
        input[name] = isSealed ? await sealTo(await loadSealingPublicKey(sealingKey), token) : token;
      else if (!schema.safeParse(undefined).success)
        input[name] = name === 'assertion' ? await forge('assertion') : otherFields[name];
    }
    expect(operation.input.safeParse(input)).toMatchObject({ success: true });
    const client = clients.get(operation.bus.callers[0] ?? 'gateway');
    if (client === undefined) throw new Error(`${operation.name} has no caller that this test knows.`);
    try {
      const output: unknown = await client.call(operation, input);
      // These two have other ways to say so.
      const no = { 'policy.end-session token': '{}', 'minting.verify-tool-token token': '{"valid":false}' };
      return no[`${operation.name} ${field}` as keyof typeof no] === JSON.stringify(output)
        ? 'refused'
        : 'answered';
    } catch (error) {
      const { code } = error as { code?: string };
      return code === 'unauthenticated' ? 'refused' : String(code);
    }
  }

  const named = places.map((place) => [`${place.operation.name}, ${place.field}`, place] as const);

  it('is taken in these places and no others', () => {
    const known = new Set(places.map(({ operation, field }) => `${operation.name} ${field}`));
    const looksLikeToken = (schema: z.ZodType) =>
      ['AA.AA.AA', 'AA.AA.AA.AA.AA'].some((token) => schema.safeParse(token).success) &&
      !schema.safeParse('A').success;
    const unknown = busOperations.flatMap((operation) =>
      Object.entries(fieldsOf(operation))
        .filter(([field, schema]) => looksLikeToken(schema) && !known.has(`${operation.name} ${field}`))
        .map(([field]) => field),
    );
    // Handles have specs of their own; a platform identity is not Mayfly's.
    expect(new Set(unknown)).toEqual(new Set(['handle', 'subject_token']));
  });

  it.each(named)('of no other kind, and no other key, passes at %s', async (_name, place) => {
    const forged = await forgeries(place);
    const became: Record<string, string> = {};
    for (const [what, token] of Object.entries(forged)) became[what] = await show(place, token);
    expect(became).toEqual(Object.fromEntries(Object.keys(forged).map((what) => [what, 'refused'])));
  });

  it.each(named)('of the right kind passes at %s', async (_name, place) => {
    const { kind, operation } = place;
    // A session of its own: one of these ends it.
    const token = kind === 'sessionToken' ? (await openSession(stack)).sessionToken : await forge(kind);
    // What a made-up handle stands for could never be ended, so this must not become a lease.
    const cancel = places.find((other) => other.operation.name === 'revocation.cancel-grant');
    if (operation.name === 'revocation.activate' && cancel !== undefined) await show(cancel, token);
    expect(await show(place, token)).not.toBe('refused');
  });

  it.each(kinds)('of kind %s is no bearer token, unless it is one of a session', async (kind) => {
    const authorization = `Bearer ${await forge('sessionToken', { as: kind })}`;
    const { status } = await fetch(`${stack.gatewayUrl}/v1/credentials`, { headers: { authorization } });
    expect(status).toBe(kind === 'sessionToken' ? 200 : 401);
  });

  it.each(kinds)('of kind %s opens no session', async (kind) => {
    const response = await fetch(`${stack.gatewayUrl}/v1/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: tokenExchangeGrantType,
        subject_token: await forge(kind),
        subject_token_type: jwtTokenType,
      }),
    });
    expect([response.status, await response.json()]).toEqual([
      400,
      expect.objectContaining({ error: 'invalid_request' }),
    ]);
  });
});

/** The claims of a kind, of a token that its signer made. */
function claimsOf(token: string): Record<string, unknown> {
  const payload = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Record<
    string,
    unknown
  >;
  for (const registered of ['iss', 'aud', 'iat', 'nbf', 'exp']) delete payload[registered];
  return payload;
}

function claimsByKind(
  session: Record<string, unknown>,
  recipientKey: object,
): Record<Kind, () => Record<string, unknown>> {
  const agentId = session['sub'];
  const actor = {
    organization: 'acme',
    session_id: session['sid'],
    agent_id: agentId,
    agent_role: 'analyst',
  };
  const reports = {
    name: 'reports-api',
    settings: { audience: 'https://reports.example' },
    secret_references: [],
  };
  const orders = {
    name: 'orders-db',
    settings: { admin: 'env:ORDERS_ADMIN_URL' },
    secret_references: ['env:ORDERS_'],
  };
  const scope = { scopes: ['read:reports:*'] };
  const decided = { policy_ids: [], config_version: 1, source_ip: '127.0.0.1' };
  return {
    sessionToken: () => session,
    grant: () => ({
      jti: uuidv7(),
      actor,
      ...decided,
      credential: 'reports-api/read',
      provider: 'jwt',
      integration: reports,
      settings: {},
      bounds: scope,
      scope,
      ttl_seconds: 1,
      session_expires_at: new Date(Date.now() + 3_600_000).toISOString(),
      recipient_key: recipientKey,
      recipient: 'session',
      granted_at: new Date().toISOString(),
    }),
    renewal: () => ({
      jti: uuidv7(),
      lease_id: uuidv7(),
      granted_at: new Date().toISOString(),
      actor,
      asker: { session_id: actor.session_id },
      ...decided,
      credential: 'orders-db/renewable',
      provider: 'postgres',
      integration: 'orders-db',
      ttl_seconds: 60,
      expires_at: new Date(Date.now() + 60_000).toISOString(),
      limit: 'ttl',
      max_life_seconds: 600,
      max_count: 3,
    }),
    assertion: () => ({
      jti: uuidv7(),
      actor,
      kind: 'agent',
      person_roles: [],
      act: { action: 'introspect' },
    }),
    reconcileOrder: () => ({
      jti: uuidv7(),
      organization: 'acme',
      credential: 'orders-db/readonly',
      provider: 'postgres',
      integration: orders,
      settings: {},
      config_version: 1,
    }),
    sweepOrder: () => ({
      jti: uuidv7(),
      organization: 'acme',
      provider: 'postgres',
      integration: orders,
      mark: '0123456789',
    }),
    checkpoint: () => ({}),
    toolToken: () => ({ jti: uuidv7(), sub: agentId, scope: 'read:reports:*', organization: 'acme' }),
  };
}
