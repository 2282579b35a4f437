/**
 * What Mayfly's parts agree on: the operations of the bus and of the HTTP API, events, token claims and error codes.
 * zod only; nothing here does anything.
 */
import * as audit from './bus/audit.ts';
import * as minting from './bus/minting.ts';
import * as policy from './bus/policy.ts';
import * as revocation from './bus/revocation.ts';
import * as administration from './http/administration.ts';
import * as leases from './http/leases.ts';
import * as oauth from './http/oauth.ts';
import type { BusOperation, HttpOperation, Operation } from './operation.ts';

export * from './errors.ts';
export * from './operation.ts';
export * from './primitives.ts';
export { canonicalAddress } from './source-address.ts';
export * from './events/event.ts';
export * from './events/order.ts';
export * from './tokens/session-token.ts';
export * from './tokens/grant.ts';
export * from './tokens/assertion.ts';
export * from './tokens/tool-token.ts';
export * from './tokens/checkpoint.ts';
export {
  Block,
  ConfigProblem,
  CredentialListing,
  mostBlocks,
  mostSessions,
  RemovalOrder,
  SessionView,
} from './bus/policy.ts';
export {
  ConfigChange,
  ConfigVersion,
  longestChangeDetail,
  mostChangeDetails,
  mostConfigChanges,
  PreviewedConfig,
} from './bus/configuration.ts';
export { EndOutcome, LeaseView, mostRevokedLeases, RevocationView, RevokedLease } from './bus/revocation.ts';
export { AuditEvent, LeaseLifecycle } from './bus/audit.ts';
export { IssuedLease, RenewedLease } from './http/leases.ts';
export { accessTokenType, jwtTokenType, tokenExchangeGrantType } from './http/oauth.ts';

/** Operations of the bus, by the service that answers. */
export const bus = { policy, minting, revocation, audit } as const;

/** Operations of the HTTP API, by area. */
export const http = { oauth, leases, administration } as const;

function isOperation(value: unknown): value is Operation {
  return (
    typeof value === 'object' &&
    value !== null &&
    'name' in value &&
    'input' in value &&
    'output' in value &&
    'errors' in value
  );
}

function operationsOf(...modules: object[]): Operation[] {
  return modules.flatMap((module) => Object.values(module).filter(isOperation));
}

/** Every operation of the bus; NATS permissions are made from these. */
export const busOperations = operationsOf(policy, minting, revocation, audit) as BusOperation[];

/** Every operation of the HTTP API; the OpenAPI page is made from these. */
export const httpOperations = operationsOf(oauth, leases, administration) as HttpOperation[];
