/** Bodies are read with every bound set before anything is parsed (I12): bytes, depth, number of form fields. */
import { httpOperations, MayflyError } from '@mayfly/contracts';
import { nestsDeeperThan } from '@mayfly/domain';
import type { FastifyAdapter } from '@nestjs/platform-fastify';
import type { FastifyRequest } from 'fastify';
import { nestPath } from './route.ts';

/** Only a configuration document is larger than this. */
export const bodyLimitBytes = 65_536;
/** `PUT /v1/config`. Bounded by what one bus message holds. */
export const documentLimitBytes = 917_504;
const documentRoutes = new Set(['/v1/config']);
/** Most bytes that a route takes. Demanded by Fastify while it reads, so that nobody makes it keep more. */
export const bodyLimitOf = (route: string) =>
  documentRoutes.has(route) ? documentLimitBytes : bodyLimitBytes;
/** A scope may be 8 deep; everything else is flatter. */
const maxNesting = 16;
const maxFormFields = 32;
/** Routes that take a form; all others take JSON. One that took both would be two parsers for one meaning. */
const formRoutes = new Set(
  httpOperations.filter(({ http }) => http.body === 'form').map(({ http }) => nestPath(http.path)),
);

type Done = (error: Error | null, body?: unknown) => void;

export function registerBodyParsers(adapter: FastifyAdapter): void {
  const limit = { bodyLimit: bodyLimitBytes };
  adapter.useBodyParser(
    'application/json',
    false,
    limit,
    (request: FastifyRequest, body: Buffer, done: Done) => {
      parseWith(done, () => parseJson(readText(request, body, 'json')));
    },
  );
  adapter.useBodyParser(
    'application/x-www-form-urlencoded',
    false,
    limit,
    (request: FastifyRequest, body: Buffer, done: Done) => {
      parseWith(done, () => parseForm(readText(request, body, 'form')));
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

/** Keeps a byte order mark, so that it is refused as RFC 8259 §8.1 lets a parser do. */
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The body as text. */
function readText(request: FastifyRequest, body: Buffer, sent: 'json' | 'form'): string {
  const { url: route = '' } = request.routeOptions;
  if (sent !== (formRoutes.has(route) ? 'form' : 'json')) {
    throw Object.assign(new Error('wrong media type'), { code: 'FST_ERR_CTP_INVALID_MEDIA_TYPE' });
  }
  try {
    return utf8.decode(body);
  } catch {
    throw new MayflyError('invalid_request', 'the body is not UTF-8');
  }
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
