/**
 * What a log line says about an error: kind, message, stack and causes. Everything else that libraries hang on
 * their errors stays out, above all Postgres' `detail`, `where` and `query`, which quote rows and statements. The message of a server,
 * which may quote them too, gives way to its code.
 */
import { isAnswer } from './answer-code.ts';

/** Causes deeper than this are cut. */
const maxCauses = 5;

/** Plain fields that name a thing and never quote a value (PostgreSQL documentation §54.8). */
const plainFields = [
  'code',
  'reason',
  'severity',
  'schema',
  'table',
  'column',
  'constraint',
  'routine',
  'syscall',
] as const;

export function errorFields(error: Error, level = 0): Record<string, unknown> {
  const given = error as Error & Record<string, unknown>;
  const fields: Record<string, unknown> = isAnswer(error)
    ? { type: error.name, stack: framesOf(error) }
    : { type: error.name, message: error.message, stack: error.stack };
  for (const name of plainFields) {
    if (typeof given[name] === 'string') fields[name] = given[name];
  }
  if (level >= maxCauses) return fields;
  if (isErrorLike(error.cause)) fields['cause'] = errorFields(error.cause, level + 1);
  const { errors } = given;
  if (Array.isArray(errors)) {
    fields['errors'] = errors
      .filter(isErrorLike)
      .slice(0, maxCauses)
      .map((inner) => errorFields(inner, level + 1));
  }
  return fields;
}

/** Where it was made, without the message that a stack begins with: that has as many lines as a server likes. */
function framesOf({ name, message, stack = '' }: Error): string {
  const at = stack.indexOf(message);
  const frames = at < 0 ? '' : stack.slice(at + message.length);
  return `${name}${frames.startsWith('\n    at ') ? frames : ''}`;
}

function isErrorLike(value: unknown): value is Error {
  return typeof value === 'object' && value !== null && 'message' in value && 'name' in value;
}
