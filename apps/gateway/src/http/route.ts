/**
 * A route is its operation: method, path, status and the schema of its input come from the contract, so a controller
 * says only what it does. A handler without an operation gets no input at all (fails closed).
 */
import {
  applyDecorators,
  createParamDecorator,
  HttpCode,
  RequestMapping,
  RequestMethod,
  SetMetadata,
  type ExecutionContext,
} from '@nestjs/common';
import { MayflyError, type HttpOperation } from '@mayfly/contracts';
import { describeWork } from '@mayfly/telemetry';
import type { FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { readBearerToken } from './bearer-token.ts';

export const operationKey = Symbol('mayfly:http-operation');

/** Makes a method the handler of an HTTP operation. */
export function Route(operation: HttpOperation): MethodDecorator {
  return applyDecorators(
    RequestMapping({ method: RequestMethod[operation.http.method], path: nestPath(operation.http.path) }),
    HttpCode(operation.http.status),
    SetMetadata(operationKey, operation),
  );
}

/** `/v1/leases/{lease_id}` → `/v1/leases/:lease_id` */
export function nestPath(path: string): string {
  return path.replace(/\{(\w+)\}/g, ':$1');
}

/** The operation's input, parsed by its schema: path parameters, then query string or body. */
export const Input = createParamDecorator((_: unknown, context: ExecutionContext): unknown => {
  const operation = operationOf(context);
  const input = parseInput(operation, context.switchToHttp().getRequest<FastifyRequest>());
  if (typeof input === 'object' && input !== null) describeWork(input);
  return input;
});

/** Who asks: the session token as it came, not yet verified, and the address it came from. */
export interface Caller {
  readonly token: string;
  readonly sourceIp: string;
}

/** The caller of an operation with `auth: session`. Throws `unauthenticated` without a bearer token. */
export const AuthenticatedCaller = createParamDecorator((_: unknown, context: ExecutionContext): Caller => {
  const request = context.switchToHttp().getRequest<FastifyRequest>();
  return { token: readBearerToken(request.headers.authorization), sourceIp: sourceIpOf(request) };
});

/** The caller's canonical address. */
export const SourceIp = createParamDecorator((_: unknown, context: ExecutionContext): string =>
  sourceIpOf(context.switchToHttp().getRequest<FastifyRequest>()),
);

/** As the edge has told it (`TrustedProxies.callerOf`). Fails closed where it has not. */
function sourceIpOf({ callerAddress }: FastifyRequest): string {
  if (callerAddress === '')
    throw new MayflyError('internal', 'internal error', { cause: new Error('a request of nobody') });
  return callerAddress;
}

function operationOf(context: ExecutionContext): HttpOperation {
  const operation: unknown = Reflect.getMetadata(operationKey, context.getHandler());
  if (operation === undefined)
    throw new MayflyError('internal', 'internal error', { cause: new Error('a route without an operation') });
  return operation as HttpOperation;
}

export function parseInput(
  operation: HttpOperation,
  request: Pick<FastifyRequest, 'params' | 'query' | 'body'>,
): unknown {
  const readsQuery = operation.http.method === 'GET' || operation.http.method === 'DELETE';
  const fields = readsQuery ? request.query : (request.body ?? {});
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) {
    throw new MayflyError('invalid_request', 'the body must be a JSON object');
  }
  const parameters = request.params as Record<string, unknown>;
  const doubled = Object.keys(parameters).find((name) => name in fields);
  if (doubled !== undefined)
    throw new MayflyError('invalid_request', `${doubled} belongs into the path only`);
  const parsed = operation.input.safeParse({ ...fields, ...parameters });
  if (!parsed.success) throw new MayflyError('invalid_request', describe(parsed.error));
  return parsed.data;
}

/** The first three mistakes in one sentence; values are never repeated, since one may be a secret in the wrong place. */
function describe(error: z.ZodError): string {
  return error.issues
    .slice(0, 3)
    .map((issue) => {
      const where = issue.path.map(String).join('.').slice(0, 100);
      const what =
        issue.code === 'unrecognized_keys' ? `unknown field ${quoteNames(issue.keys)}` : issue.message;
      return where === '' ? what : `${where}: ${what}`;
    })
    .join('; ')
    .slice(0, 400);
}

function quoteNames(names: readonly string[]): string {
  return names
    .slice(0, 3)
    .map((name) => `"${name.replace(/[^\w.-]/g, '?').slice(0, 40)}"`)
    .join(', ');
}
