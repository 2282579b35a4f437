/**
 * PostgreSQL's SQLSTATEs (documentation, appendix A) as the two failures of a provider. A server that answered with an error
 * has rolled back; silence leaves it open whether the statement ran.
 */
import type pg from 'pg';
import { ProviderRejected, ProviderUnavailable, type ProviderFailure } from '../provider-error.ts';
import { arrivedLate } from './server-clock.ts';

/** What a failed statement was up to; `sent` tells whether it can have had an effect. */
export function upstreamFailure(error: unknown, sent: boolean): ProviderFailure {
  if (error instanceof ProviderRejected || error instanceof ProviderUnavailable) return error;
  const code = sqlStateOf(error);
  if (code === undefined) {
    return new ProviderUnavailable('the database cannot be reached', {
      effect: sent ? 'unknown' : 'none',
      cause: error,
    });
  }
  const reason = rejections[code] ?? rejections[code.slice(0, 2)];
  if (reason !== undefined) return new ProviderRejected(reason, { cause: error });
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
/** `invalid_parameter_value`: `SET ROLE` to one that does not exist. */
export const invalidParameterValue = '22023';
/** `dependent_objects_still_exist` */
export const dependentObjects = '2BP01';

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
