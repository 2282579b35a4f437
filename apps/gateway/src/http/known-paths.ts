/** Which methods a path has, so that another one is answered with 405 and not as if nothing were there (RFC 9110 §15.5.6). */
import { httpOperations, type HttpOperation } from '@mayfly/contracts';
import { nestPath } from './route.ts';

export const openApiPath = '/openapi.json';

export interface KnownPath {
  /** As the router writes it: `/v1/leases/:lease_id`. */
  readonly path: string;
  /** For the header `Allow` (RFC 9110 §10.2.1). */
  readonly methods: readonly string[];
}

interface PathPattern extends KnownPath {
  readonly pattern: RegExp;
}

const patterns: readonly PathPattern[] = [
  ...new Set([openApiPath, ...httpOperations.map(({ http }) => http.path)]),
].map((template) => {
  const declared: string[] = httpOperations.flatMap(({ http }) =>
    http.path === template ? [http.method] : [],
  );
  if (template === openApiPath) declared.push('GET');
  if (declared.includes('GET')) declared.push('HEAD');
  const methods = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'].filter((method) => declared.includes(method));
  const literal = template.replace(/[.]/g, String.raw`\.`).replace(/\{\w+\}/g, '[^/]+');
  return {
    path: nestPath(template),
    methods: [...methods, 'OPTIONS'],
    pattern: new RegExp(`^${literal}$`),
  };
});

/** Of the whole server, for `OPTIONS *` (RFC 9110 §9.3.7). */
const wholeServer: KnownPath = {
  path: '*',
  methods: [...new Set(patterns.flatMap(({ methods }) => methods))],
};

/** The known path of a request's target, which may have a query; undefined when nothing is there, whatever the method. */
export function knownPathOf(target: string): KnownPath | undefined {
  if (target === '*') return wholeServer;
  const path = target.split(/[?#]/, 1)[0] ?? '';
  return patterns.find(({ pattern }) => pattern.test(path));
}

const operations = new Map<string, HttpOperation>(
  httpOperations.map((operation) => [`${operation.http.method} ${nestPath(operation.http.path)}`, operation]),
);

/** The operation of a route, by its method and its path as the router writes it. */
export function operationOfRoute(method: string, path: string): HttpOperation | undefined {
  return operations.get(`${method === 'HEAD' ? 'GET' : method} ${path}`);
}
