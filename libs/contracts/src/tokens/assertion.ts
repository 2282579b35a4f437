/**
 * Policy's signed statement of who asks for what, for calls that another service answers: JWS, `typ`
 * `mayfly-assertion+jwt`, 30 seconds, `aud` = the answering services. A captured gateway speaks for nobody whose token it
 * does not hold, and an assertion for one act is good for no other.
 */
import { z } from 'zod';
import {
  BlockSubject,
  CredentialName,
  LeaseMark,
  Name,
  OrganizationId,
  PersonRole,
  RevocationSubject,
  text,
  Uuid,
} from '../primitives.ts';
import { Actor } from './grant.ts';

const revoke = z.strictObject({
  action: z.literal('revoke'),
  subject: RevocationSubject,
  reason: text(256),
});

const otherActs = [
  z.strictObject({ action: z.literal('list_leases') }),
  z.strictObject({ action: z.literal('read_lease'), lease_id: Uuid }),
  z.strictObject({ action: z.literal('end_lease'), lease_id: Uuid, reason: text(256) }),
  z.strictObject({ action: z.literal('report_use'), lease_id: Uuid }),
  z.strictObject({ action: z.literal('introspect') }),
  z.strictObject({ action: z.literal('end_session'), session_id: Uuid }),
  /** Stops mints under way for what has just been blocked. */
  z.strictObject({ action: z.literal('fence'), subject: BlockSubject, reason: text(256) }),
  z.strictObject({ action: z.literal('list_revocations') }),
  z.strictObject({ action: z.literal('read_revocation'), revocation_id: Uuid }),
  z.strictObject({ action: z.literal('read_audit') }),
] as const;

/** What may be asked for, and of what. */
export const AskedAct = z.discriminatedUnion('action', [...otherActs, revoke]);
export type AskedAct = z.infer<typeof AskedAct>;

/** The same as policy signs it. The answering service acts on these values and on no other copy of them. */
export const Act = z.discriminatedUnion('action', [
  ...otherActs,
  /** `revocation_id`: policy has ordered it by an event too, under this id; whichever comes first carries it out. Chosen by policy alone. */
  revoke.extend({ revocation_id: Uuid.optional() }),
]);
export type Act = z.infer<typeof Act>;

export const AssertionClaims = z.strictObject({
  jti: Uuid,
  actor: Actor,
  kind: z.enum(['agent', 'person']),
  person_roles: z.array(PersonRole),
  act: Act,
});
export type AssertionClaims = z.infer<typeof AssertionClaims>;

/**
 * Policy's signed order to remove what a lease that never became active may have left upstream: JWS, `typ`
 * `mayfly-reconcile+jwt`. It stands in for the handle that such a lease does not have.
 */
export const ReconcileClaims = z.strictObject({
  /** The lease id. */
  jti: Uuid,
  organization: OrganizationId,
  credential: CredentialName,
  provider: Name,
  integration: z.strictObject({
    name: Name,
    settings: z.record(z.string(), z.json()),
    secret_references: z.array(text(512)).max(64),
  }),
  settings: z.record(z.string(), z.json()),
  config_version: z.int().min(1),
});
export type ReconcileClaims = z.infer<typeof ReconcileClaims>;

/** Policy's signed order to list what bears an integration's mark upstream: JWS, `typ` `mayfly-sweep+jwt`. */
export const SweepClaims = z.strictObject({
  jti: Uuid,
  organization: OrganizationId,
  provider: Name,
  integration: z.strictObject({
    name: Name,
    settings: z.record(z.string(), z.json()),
    secret_references: z.array(text(512)).max(64),
  }),
  mark: LeaseMark,
});
export type SweepClaims = z.infer<typeof SweepClaims>;
