/**
 * PostgreSQL's SQLSTATEs (documentation, appendix A) as the two failures of a provider. A server that answered with an error
 * has rolled back; silence leaves it open whether the statement ran.
 */
import type pg from 'pg';
import {
  asProviderFailure,
  ProviderBusy,
  ProviderRejected,
  ProviderUnavailable,
  type ProviderFailure,
} from '../provider-error.ts';
import { loggedCause } from './connecting/logged-cause.ts';
import { arrivedLate } from './server-clock.ts';

/** What a failed statement was up to; `sent` tells whether it can have had an effect. */
export function upstreamFailure(error: unknown, sent: boolean): ProviderFailure {
  if (error instanceof ProviderRejected || error instanceof ProviderUnavailable) return error;
  const code = sqlStateOf(error);
  if (code === undefined) {
    return new ProviderUnavailable('the database cannot be reached', {
      effect: sent ? 'unknown' : 'none',
      cause: loggedCause(error),
    });
  }
  const reason = rejections[code] ?? rejections[code.slice(0, 2)];
  if (reason !== undefined) return new ProviderRejected(reason, { cause: error });
  if (madeByLeases.includes(code)) {
    return new ProviderBusy('something in the database is in the way at the moment', { cause: error });
  }
  if (isUnavailable(code)) {
    // 57P01-57P03 (shutdown) may come after a commit; all others are answers to a statement that was rolled back.
    const effect = sent && code.startsWith('57P') ? 'unknown' : 'none';
    return new ProviderUnavailable('the database cannot do it at the moment', { effect, cause: error });
  }
  return new ProviderRejected('the database refused', { cause: error });
}

/** Of an error that the server sent; undefined for those of the network and the driver. */
export function sqlStateOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || !('severity' in error)) return undefined;
  return typeof error.code === 'string' && /^[0-9A-Z]{5}$/.test(error.code) ? error.code : undefined;
}

/** What the server sent, for its fields beside the state. They may quote what nobody outside may see. */
export function databaseErrorOf(error: unknown): pg.DatabaseError | undefined {
  return sqlStateOf(error) === undefined ? undefined : (error as pg.DatabaseError);
}

/** `undefined_object`: a role that does not exist. */
export const undefinedObject = '42704';
/** `insufficient_privilege` */
export const insufficientPrivilege = '42501';
/** `read_only_sql_transaction`: at a standby, too. */
export const readOnlyTransaction = '25006';
/** `invalid_parameter_value`: `SET ROLE` to one that does not exist. */
export const invalidParameterValue = '22023';
/** `dependent_objects_still_exist` */
export const dependentObjects = '2BP01';
/** `too_many_connections` */
export const tooManyConnections = '53300';
/** `out_of_memory`: of the table of locks, which every login may fill. */
export const outOfMemory = '53200';
/** Raised by `cutSessions`: sessions, or prepared transactions, were left when its time was over. No class of PostgreSQL's. */
export const sessionsLeft = 'MF003';

/**
 * What the holder of any lease can bring about, by locks that it keeps or by how much it has made: `lock_not_available`,
 * `query_canceled` (a statement's own time-out), `out_of_memory` (the table of locks), `serialization_failure`,
 * `deadlock_detected`, `internal_error` (two changed one row of a catalog), `object_in_use`, `object_not_in_prerequisite_state`. It
 * is no evidence about the server.
 */
const madeByLeases: readonly string[] = [
  '55P03',
  '57014',
  outOfMemory,
  '40001',
  '40P01',
  'XX000',
  '55006',
  '55000',
  sessionsLeft,
];

/** Whether a failed statement failed for what a lease can bring about, so that it is worth another try at once. */
export function isOfTheLease(error: unknown): boolean {
  const state = sqlStateOf(asProviderFailure(error).cause);
  return state !== undefined && (madeByLeases.includes(state) || state === dependentObjects);
}

const rejections: Readonly<Record<string, string>> = {
  '28': "the database does not accept the integration's privileged credential",
  '3D000': 'the database of the integration does not exist',
  '3F000': 'a schema of the scope does not exist',
  '42P01': 'a table of the scope does not exist',
  [insufficientPrivilege]: "the integration's privileged credential may not do this",
  [invalidParameterValue]: 'a role that the statements set does not exist',
  '42704': 'something that the statements name does not exist',
  '42710': 'a role of this name exists already',
  [dependentObjects]: 'other objects depend on what the role owns',
};

/** Connection exceptions, lack of resources, operator intervention (timeouts too), rollbacks, locks; what came too late. */
function isUnavailable(code: string): boolean {
  return code === arrivedLate || ['08', '25', '40', '53', '55', '57', '58', 'XX'].includes(code.slice(0, 2));
}
