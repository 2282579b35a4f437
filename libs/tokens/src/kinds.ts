/**
 * The one table of token kinds. No kind passes for another (I7): a verifier is made for one kind and checks its `typ`,
 * issuer, audience, algorithm and key, so that even two kinds signed with one key stay apart.
 */
import {
  AssertionClaims,
  GrantClaims,
  CheckpointClaims,
  ReconcileClaims,
  RenewalClaims,
  SessionClaims,
  SweepClaims,
  ToolTokenClaims,
} from '@mayfly/contracts';
import type { z } from 'zod';

/** A kind of token that Mayfly's parts send each other. All of them are Ed25519 JWS (`alg` `EdDSA`, RFC 8037 §3.1). */
export interface TokenKind<Claims> {
  /** `typ` of the header (RFC 8725 §3.11). */
  readonly typ: string;
  /** `iss`. */
  readonly issuer: string;
  /** Who may be named in `aud`. With several, each verifier says which of them it is. */
  readonly audience: string | readonly string[];
  /** The claims beside `iss`, `aud`, `iat`, `nbf` and `exp`. */
  readonly claims: z.ZodType<Claims>;
  /** Longest time from `iat` to `exp`, in seconds. `Infinity`: tokens of this kind never expire and have no `exp`. */
  readonly maxAgeSeconds: number;
}

/** Tool tokens are for tools outside Mayfly: issuer and audience differ per use and are given when signing. */
export type ToolTokenKind = Omit<TokenKind<ToolTokenClaims>, 'issuer' | 'audience'>;

const sessionToken: TokenKind<SessionClaims> = {
  typ: 'mayfly-session+jwt',
  issuer: 'mayfly-policy',
  audience: 'mayfly',
  claims: SessionClaims,
  maxAgeSeconds: 3600,
};

/** Minting redeems it; revocation verifies it again before it activates the lease. */
const grant: TokenKind<GrantClaims> = {
  typ: 'mayfly-grant+jwt',
  issuer: 'mayfly-policy',
  audience: ['mayfly-minting', 'mayfly-revocation'],
  claims: GrantClaims,
  maxAgeSeconds: 30,
};

/** The signer names the answering service alone (`audience` of the sign options), so that no other accepts it. */
const assertion: TokenKind<AssertionClaims> = {
  typ: 'mayfly-assertion+jwt',
  issuer: 'mayfly-policy',
  audience: ['mayfly-revocation', 'mayfly-minting', 'mayfly-audit'],
  claims: AssertionClaims,
  maxAgeSeconds: 30,
};

/** Signed with the key of grants: both are policy's orders to minting, apart by `typ`. */
const reconcileOrder: TokenKind<ReconcileClaims> = {
  typ: 'mayfly-reconcile+jwt',
  issuer: 'mayfly-policy',
  audience: 'mayfly-minting',
  claims: ReconcileClaims,
  maxAgeSeconds: 30,
};

/** Revocation and minting verify it both. Signed with the key of grants, apart by `typ`. */
const renewal: TokenKind<RenewalClaims> = {
  typ: 'mayfly-renewal+jwt',
  issuer: 'mayfly-policy',
  audience: ['mayfly-minting', 'mayfly-revocation'],
  claims: RenewalClaims,
  maxAgeSeconds: 30,
};

/** As reconcile orders. */
const sweepOrder: TokenKind<SweepClaims> = {
  typ: 'mayfly-sweep+jwt',
  issuer: 'mayfly-policy',
  audience: 'mayfly-minting',
  claims: SweepClaims,
  maxAgeSeconds: 300,
};

/** Evidence, so it never expires. */
const checkpoint: TokenKind<CheckpointClaims> = {
  typ: 'mayfly-checkpoint+jwt',
  issuer: 'mayfly-audit',
  audience: 'mayfly-auditor',
  claims: CheckpointClaims,
  maxAgeSeconds: Number.POSITIVE_INFINITY,
};

/** `typ` of RFC 9068 §2.1. */
const toolToken: ToolTokenKind = { typ: 'at+jwt', claims: ToolTokenClaims, maxAgeSeconds: 86_400 };

export const tokenKinds = {
  sessionToken,
  grant,
  assertion,
  reconcileOrder,
  renewal,
  sweepOrder,
  checkpoint,
  toolToken,
} as const;

const internalKinds = [sessionToken, grant, assertion, reconcileOrder, renewal, sweepOrder, checkpoint];
const internalTypes = new Set(internalKinds.map((kind) => kind.typ));
const internalAudiences = new Set(internalKinds.flatMap((kind) => kind.audience));

/** Whether a `typ` is one of Mayfly's internal kinds, in any spelling that RFC 7515 §4.1.9 makes equal. */
export function isInternalType(typ: string): boolean {
  return internalTypes.has(typ.toLowerCase().replace(/^application\//, ''));
}

/** Whether a tool token may be made for this audience: Mayfly's own audiences are refused. */
export function toolTokenAudienceIsAllowed(audience: string): boolean {
  return !internalAudiences.has(audience);
}
