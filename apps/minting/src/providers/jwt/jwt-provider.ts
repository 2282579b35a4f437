/**
 * Provider `jwt`: Mayfly itself is the upstream. It signs a token for one tool, with a key that serves nothing else. A
 * signed token can't be called back: it ends by itself, and a tool that must know sooner introspects it.
 */
import { type RecipientKey, type ToolTokenClaims } from '@mayfly/contracts';
import {
  jwtDefinition,
  Secret,
  type JwtCredentialSettings,
  type JwtIntegrationSettings,
  type JwtScope,
  type JwtSecret,
} from '@mayfly/domain';
import { fingerprint, signToolToken, toolTokenAudienceIsAllowed, type SigningKeys } from '@mayfly/tokens';
import { calculateJwkThumbprint } from 'jose';
import { ProviderRejected } from '../provider-error.ts';
import type { Minted, MintContext, Provider, ReconcileOutcome } from '../provider.ts';

export interface JwtProviderOptions {
  /** `iss`: the public address of the gateway, where `/.well-known/jwks.json` is. */
  readonly issuer: string;
  readonly keys: SigningKeys;
}

export class JwtProvider implements Provider<JwtIntegrationSettings, JwtCredentialSettings, JwtScope> {
  readonly definition = jwtDefinition;

  constructor(private readonly options: JwtProviderOptions) {}

  async mint(context: MintContext<JwtIntegrationSettings, JwtCredentialSettings, JwtScope>): Promise<Minted> {
    const { audience } = context.integrationSettings;
    if (isOwnAudience(audience)) {
      throw new ProviderRejected("a tool token cannot be for one of Mayfly's own audiences");
    }
    // From the grant, not by the clock of this machine: ahead, it would make a token that outlives its lease. Whole seconds, as
    // NumericDate has them (RFC 7519 §2).
    const now = new Date(Math.floor(context.grantedAt.getTime() / 1000) * 1000);
    const token = await signToolToken(this.options.keys, await claimsOf(context), {
      issuer: this.options.issuer,
      audience,
      now,
      ttlSeconds: context.ttlSeconds,
    });
    return {
      secret: new Secret(JSON.stringify({ token, token_type: 'Bearer' } satisfies JwtSecret)),
      handle: {},
      nativeExpiresAt: new Date(now.getTime() + context.ttlSeconds * 1000),
      fingerprints: [fingerprint('token', token)],
      useKeys: { 'jwt.jti': context.leaseId },
    };
  }

  revoke(): Promise<'expiry_only'> {
    return Promise.resolve('expiry_only');
  }

  /** A token leaves nothing upstream that could be found. */
  reconcile(): Promise<ReconcileOutcome> {
    return Promise.resolve({ outcome: 'unreachable' });
  }
}

async function claimsOf(
  context: MintContext<JwtIntegrationSettings, JwtCredentialSettings, JwtScope>,
): Promise<ToolTokenClaims> {
  const { askerKey, user, task } = context;
  return {
    jti: context.leaseId,
    sub: context.agentId,
    scope: context.scope.scopes.join(' '),
    organization: context.organization,
    ...(user !== undefined && { act: { sub: user } }),
    ...(task !== undefined && { task }),
    ...(askerKey !== undefined && { cnf: { jkt: await thumbprint(askerKey) } }),
  };
}

/** RFC 7638, SHA-256: over the required members only. */
function thumbprint(key: RecipientKey): Promise<string> {
  const { kty, crv, x } = key;
  return calculateJwkThumbprint(key.kty === 'EC' ? { kty, crv, x, y: key.y } : { kty, crv, x }, 'sha256');
}

/** `mayfly`, `mayfly-…`: also names that no part of Mayfly has yet. */
function isOwnAudience(audience: string): boolean {
  return /^mayfly(?:-|$)/i.test(audience.trim()) || !toolTokenAudienceIsAllowed(audience);
}
