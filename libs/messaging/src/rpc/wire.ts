/** The bus' wire format: a request is the operation's input as JSON, a reply is `{"ok": …}` or `{"error": {code, reason}}`. */
import type { ErrorCode } from '@mayfly/contracts';
import { BusError } from '@mayfly/contracts';
import { nestsDeeperThan } from '@mayfly/domain';
import type { Msg } from '@nats-io/transport-node';
import type { z } from 'zod';

/** Absolute deadline, epoch milliseconds by the caller's clock. */
export const deadlineHeader = 'mayfly-deadline';
/** What the caller had left when it sent, in milliseconds: needs no common clock. */
export const timeoutHeader = 'mayfly-timeout';

/** Milliseconds as they are written in headers, questions and answers; `undefined` for anything else. */
export function readWholeNumber(value: string): number | undefined {
  return /^\d{1,15}$/.test(value) ? Number(value) : undefined;
}

/** No message of Mayfly's nests deeper. What does comes from a captured service, and would use up the stack of whoever checks it. */
const maxNesting = 64;

export class NestedTooDeeply extends SyntaxError {}

/** Throws `SyntaxError` for what is not JSON, and `NestedTooDeeply` for what is nested deeper than any message is. */
export function parseJson(data: Uint8Array): unknown {
  const text = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('utf8');
  if (nestsDeeperThan(text, maxNesting)) throw new NestedTooDeeply();
  return JSON.parse(text);
}

export function okReply(output: unknown): string {
  return JSON.stringify({ ok: output });
}

export function errorReply(code: ErrorCode, reason: string): string {
  return JSON.stringify({ error: { code, reason: reason.slice(0, 500) } });
}

/** Reads a reply; `undefined` when it is neither form. */
export function readReply(message: Msg): { ok: unknown } | { error: BusError } | undefined {
  let reply: unknown;
  try {
    reply = parseJson(message.data);
  } catch {
    return undefined;
  }
  if (typeof reply !== 'object' || reply === null) return undefined;
  if ('ok' in reply) return { ok: reply.ok };
  const error = BusError.safeParse('error' in reply ? reply.error : undefined);
  return error.success ? { error: error.data } : undefined;
}

/** What is wrong with an input, short and without its values: `scope.schemas[0]: must be …`. At most 300 characters. */
export function describeIssues(error: z.core.$ZodError): string {
  const told = error.issues.slice(0, 3).map((issue) => {
    const path = issue.path.reduce<string>(
      (before, key) =>
        typeof key === 'number' ? `${before}[${key}]` : `${before}${before === '' ? '' : '.'}${String(key)}`,
      '',
    );
    return path === '' ? issue.message : `${path}: ${issue.message}`;
  });
  const more = error.issues.length > 3 ? ` (and ${error.issues.length - 3} more)` : '';
  return `${told
    .join('; ')
    .replaceAll(/\p{Cc}/gu, ' ')
    .slice(0, 280)}${more}`;
}
