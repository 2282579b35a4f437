/** The OAuth endpoints of the HTTP API. */
import { z } from 'zod';
import { defineOperation } from '../operation.ts';
import { HeartbeatSeconds, RecipientKey, text, Uuid } from '../primitives.ts';

export const tokenExchangeGrantType = 'urn:ietf:params:oauth:grant-type:token-exchange';
export const jwtTokenType = 'urn:ietf:params:oauth:token-type:jwt';
export const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token';

/** A JWK inside a form field arrives as JSON text. */
const RecipientKeyField = z.preprocess((value, context) => {
  if (typeof value !== 'string') return value;
  try {
    return JSON.parse(value) as unknown;
  } catch {
    context.addIssue({ code: 'custom', message: 'must be a JWK in JSON' });
    return z.NEVER;
  }
}, RecipientKey);

export const token = defineOperation({
  name: 'openSession',
  summary: 'Exchange a platform identity for a session token',
  description:
    'RFC 8693 token exchange. `subject_token` is a JWT of an issuer that the configuration trusts. The session token lives at most one hour.',
  http: {
    method: 'POST',
    path: '/v1/token',
    status: 200,
    auth: 'none',
    body: 'form',
    errors: 'oauth',
    tag: 'oauth',
  },
  input: z.strictObject({
    grant_type: z.literal(tokenExchangeGrantType),
    subject_token: z.string().min(1).max(16_384),
    subject_token_type: z.enum([jwtTokenType, 'urn:ietf:params:oauth:token-type:id_token']),
    requested_token_type: z.literal(accessTokenType).optional(),
    recipient_key: RecipientKeyField.optional().describe(
      'Public JWK (X25519 or P-256, as JSON); secrets of the session are sealed to it',
    ),
    heartbeat_seconds: z.coerce
      .number()
      .pipe(HeartbeatSeconds)
      .optional()
      .describe('End the session and its leases when no call with its token comes for longer than this'),
  }),
  output: z.strictObject({
    access_token: z.string(),
    issued_token_type: z.literal(accessTokenType),
    token_type: z.literal('Bearer'),
    expires_in: z.int(),
    session_id: Uuid,
  }),
  errors: ['unauthenticated', 'policy_denied', 'limit_exceeded', 'rate_limited'],
});

export const heartbeat = defineOperation({
  name: 'heartbeat',
  summary: 'Say that a session is alive',
  description:
    'For a session that was opened with `heartbeat_seconds` and has nothing else to call; any other call with its token counts as well. Does nothing for other sessions.',
  http: {
    method: 'POST',
    path: '/v1/sessions/heartbeat',
    status: 200,
    auth: 'session',
    vital: true,
    tag: 'oauth',
  },
  input: z.strictObject({}),
  output: z.strictObject({}),
  errors: ['unauthenticated', 'rate_limited'],
});

export const revokeToken = defineOperation({
  name: 'endSession',
  summary: 'End a session and all its leases',
  description: 'RFC 7009. Answers 200 for an unknown or ended token too.',
  http: {
    method: 'POST',
    path: '/v1/token/revoke',
    status: 200,
    auth: 'none',
    vital: true,
    body: 'form',
    errors: 'oauth',
    tag: 'oauth',
  },
  input: z.strictObject({ token: z.string().min(1).max(16_384), token_type_hint: text(64).optional() }),
  output: z.strictObject({}),
  errors: ['rate_limited'],
});

export const introspect = defineOperation({
  name: 'introspectToolToken',
  summary: 'Ask whether the lease behind a tool token still lives',
  description:
    'RFC 7662. The asking tool authenticates with a session token of its own; tokens of other organizations are inactive.',
  http: {
    method: 'POST',
    path: '/v1/introspect',
    status: 200,
    auth: 'session',
    body: 'form',
    errors: 'oauth',
    tag: 'oauth',
  },
  input: z.strictObject({ token: z.string().min(1).max(16_384), token_type_hint: text(64).optional() }),
  output: z.union([
    z.strictObject({ active: z.literal(false) }),
    z.looseObject({
      active: z.literal(true),
      scope: z.string(),
      sub: z.string(),
      aud: z.string(),
      iss: z.string(),
      jti: z.string(),
      exp: z.int(),
      iat: z.int(),
    }),
  ]),
  errors: ['unauthenticated', 'rate_limited'],
});

export const serverMetadata = defineOperation({
  name: 'authorizationServerMetadata',
  summary: 'Authorization server metadata (RFC 8414)',
  http: {
    method: 'GET',
    path: '/.well-known/oauth-authorization-server',
    status: 200,
    auth: 'none',
    tag: 'metadata',
  },
  input: z.strictObject({}),
  output: z.looseObject({ issuer: z.url(), token_endpoint: z.url(), jwks_uri: z.url() }),
  errors: [],
});

export const jwks = defineOperation({
  name: 'toolTokenKeys',
  summary: 'Public keys of tool tokens (RFC 7517)',
  http: { method: 'GET', path: '/.well-known/jwks.json', status: 200, auth: 'none', tag: 'metadata' },
  input: z.strictObject({}),
  output: z.strictObject({ keys: z.array(z.record(z.string(), z.json())) }),
  errors: [],
});
