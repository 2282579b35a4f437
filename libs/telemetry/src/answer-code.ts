/**
 * What a server answered a failed call with: its code, which comes from a closed vocabulary. Its text may quote a value, a
 * statement or whatever somebody made it say, so it goes neither into spans nor into logs.
 */
import type { Attributes } from '@opentelemetry/api';

/** Causes deeper than this are not looked at. */
const mostCauses = 8;

const sqlState = /^[0-9A-Z]{5}$/;
/** Of Node and of TLS: `ECONNREFUSED`, `CERT_HAS_EXPIRED`, `ERR_TLS_CERT_ALTNAME_INVALID`. */
const systemCode = /^(?:E[A-Z0-9_]{2,63}|(?:ERR|CERT|UND|UNABLE|DEPTH|SELF)_[A-Z0-9_]{1,60})$/;

/** The SQLSTATE that a database answered with, or undefined for what is no such answer (PostgreSQL documentation §54.8). */
export function sqlStateOf(error: object): string | undefined {
  const { code, severity } = error as { code?: unknown; severity?: unknown };
  return typeof severity === 'string' && typeof code === 'string' && sqlState.test(code) ? code : undefined;
}

/**
 * The status that an HTTP server answered with, where the error is an answer of one: SDKs put the response beside it. Errors of
 * a server's own framework have a status too, but no response.
 */
export function httpStatusOf(error: object): number | undefined {
  const given = error as {
    status?: unknown;
    $metadata?: { httpStatusCode?: unknown };
    response?: { status?: unknown };
  };
  const status = given.$metadata?.httpStatusCode ?? given.response?.status;
  return typeof status === 'number' && Number.isInteger(status) && status >= 100 && status <= 599
    ? status
    : undefined;
}

/** Whether the error is what a server answered, so that its message is the server's text. */
export function isAnswer(error: object): boolean {
  return sqlStateOf(error) !== undefined || httpStatusOf(error) !== undefined;
}

/**
 * The code at the bottom of a failure, by the names of OpenTelemetry's conventions: `db.response.status_code`,
 * `http.response.status_code`, and `error.type`, which repeats it, or is the errno where nothing answered. Empty when no server and
 * no network is behind it.
 */
export function answerCode(error: unknown): Attributes {
  let at: unknown = error;
  for (let depth = 0; depth < mostCauses && typeof at === 'object' && at !== null; depth++) {
    const database = sqlStateOf(at);
    if (database !== undefined) return { 'db.response.status_code': database, 'error.type': database };
    const http = httpStatusOf(at);
    if (http !== undefined) return { 'http.response.status_code': http, 'error.type': String(http) };
    const { code, cause, errors } = at as { code?: unknown; cause?: unknown; errors?: unknown };
    if (typeof code === 'string' && systemCode.test(code)) return { 'error.type': code };
    // Several attempts, such as one for each address of a name: the last is as good as any.
    at = cause ?? (Array.isArray(errors) ? errors.at(-1) : undefined);
  }
  return {};
}
