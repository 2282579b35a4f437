/**
 * Tells "Postgres is away" from "the statement is wrong". The first is answered with `dependency_unavailable`, which
 * may be tried again; the second is our own mistake or a refused change, and stays the error that it is.
 */
import { MayflyError } from '@mayfly/contracts';

/**
 * Converts a connection-level failure to MayflyError('dependency_unavailable') with the failure as its cause; gives
 * back any other error, and a MayflyError, untouched. For `catch`: `throw asDependencyError(error)`.
 */
export function asDependencyError(error: unknown): unknown {
  if (!isDependencyFailure(error)) return error;
  return new MayflyError('dependency_unavailable', 'The database does not answer; try again.', {
    cause: error,
  });
}

/** Whether Postgres could not be reached, went away, is full or took too long. */
export function isDependencyFailure(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false;
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof code === 'string') return nodeCodes.has(code) || sqlStates.test(code);
  return typeof message === 'string' && driverMessages.test(message);
}

const nodeCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENETDOWN',
]);

/**
 * PostgreSQL documentation, appendix A: 08 connection exception, 53 insufficient resources (also too many
 * connections), 57014 cancelled by a timeout, 57P01–57P05 shut down or starting, 55P03 lock timeout, 25P03 and 25P04
 * idle or transaction timeout, 25006 read-only (a standby after a failover), 58 system error.
 */
const sqlStates = /^(?:08\w{3}|53\w{3}|57014|57P0[1-5]|55P03|25P0[34]|25006|58\w{3})$/;

/** Failures that pg reports without a code. */
const driverMessages =
  /^(?:Connection terminated|timeout exceeded when trying to connect|timeout expired|Query read timeout|Client has encountered a connection error|Client was closed|Cannot use a pool after calling end|The server does not support SSL)/;
