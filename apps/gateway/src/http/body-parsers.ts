/** Bodies are read with every bound set before anything is parsed (I12): bytes, depth, number of form fields. */
import { MayflyError } from '@mayfly/contracts';
import type { FastifyAdapter } from '@nestjs/platform-fastify';
import type { FastifyRequest } from 'fastify';

/** Only a configuration document is larger than this. */
export const bodyLimitBytes = 65_536;
/** `PUT /v1/config`. Bounded by what one bus message holds. */
export const documentLimitBytes = 917_504;
/** A scope may be 8 deep; everything else is flatter. */
const maxNesting = 16;
const maxFormFields = 32;

type Done = (error: Error | null, body?: unknown) => void;

export function registerBodyParsers(adapter: FastifyAdapter): void {
  const limit = { bodyLimit: documentLimitBytes };
  adapter.useBodyParser(
    'application/json',
    false,
    limit,
    (request: FastifyRequest, body: Buffer, done: Done) => {
      parseWith(done, () => parseJson(bounded(request, body)));
    },
  );
  adapter.useBodyParser(
    'application/x-www-form-urlencoded',
    false,
    limit,
    (request: FastifyRequest, body: Buffer, done: Done) => {
      parseWith(done, () => parseForm(bounded(request, body)));
    },
  );
}

function parseWith(done: Done, parse: () => unknown): void {
  try {
    done(null, parse());
  } catch (error) {
    done(error instanceof Error ? error : new Error('unreadable body'));
  }
}

/** The body as text. Only one route takes more than the usual limit. */
function bounded(request: FastifyRequest, body: Buffer): string {
  if (body.byteLength > bodyLimitBytes && request.routeOptions.url !== '/v1/config') {
    throw Object.assign(new Error('body too large'), { code: 'FST_ERR_CTP_BODY_TOO_LARGE' });
  }
  return body.toString('utf8');
}

export function parseJson(body: string): unknown {
  if (nestsDeeperThan(body, maxNesting)) {
    throw new MayflyError('invalid_request', `the body is nested deeper than ${maxNesting} levels`);
  }
  let hasPrototypeKey = false;
  let parsed: unknown;
  try {
    parsed = JSON.parse(body, (key, value: unknown) => {
      if (key === '__proto__') hasPrototypeKey = true;
      return value;
    });
  } catch {
    throw new MayflyError('invalid_request', 'the body is not JSON');
  }
  if (hasPrototypeKey) throw new MayflyError('invalid_request', 'the body has a key that is not accepted');
  return parsed;
}

/** Counts brackets outside strings, in one pass and before parsing. */
export function nestsDeeperThan(json: string, limit: number): boolean {
  let depth = 0;
  let inString = false;
  for (let index = 0; index < json.length; index++) {
    const character = json[index];
    if (inString) {
      if (character === '\\') index++;
      else if (character === '"') inString = false;
    } else if (character === '"') inString = true;
    else if (character === '{' || character === '[') {
      if (++depth > limit) return true;
    } else if (character === '}' || character === ']') depth--;
  }
  return false;
}

/** RFC 6749 §3.1: a parameter may be given once, and one without a value counts as left out. */
export function parseForm(body: string): Record<string, string> {
  const fields = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(body)) {
    if (fields.has(name)) throw new MayflyError('invalid_request', 'a parameter is given more than once');
    if (fields.size >= maxFormFields) throw new MayflyError('invalid_request', 'too many parameters');
    if (value !== '') fields.set(name, value);
  }
  return Object.fromEntries(fields);
}
