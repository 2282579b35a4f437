/**
 * Every failure leaves the gateway in one of two forms: RFC 9457 problem details, or, at the OAuth endpoints, RFC 6749
 * errors. What went wrong inside is logged under the trace id that the client gets, and told to nobody else.
 */
import { STATUS_CODES, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { Catch, HttpException, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import {
  errorTable,
  httpOperations,
  MayflyError,
  type ErrorCode,
  type OAuthError,
  type Problem,
} from '@mayfly/contracts';
import { currentTraceId, type Logger } from '@mayfly/telemetry';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { nestPath } from './route.ts';

const oauthPaths = new Set(
  httpOperations.filter(({ http }) => http.errors === 'oauth').map(({ http }) => nestPath(http.path)),
);
const tokenPath = '/v1/token';

/** What a client is told. */
export interface Failure {
  readonly code: ErrorCode;
  readonly reason: string;
  /** Where HTTP has a more exact status than the code's own, such as 413. */
  readonly status?: number;
}

@Catch()
export class ErrorFilter implements ExceptionFilter {
  constructor(private readonly logger: Logger) {}

  catch(exception: unknown, host: ArgumentsHost): void {
    const request = host.switchToHttp().getRequest<FastifyRequest>();
    const reply = host.switchToHttp().getResponse<FastifyReply>();
    const failure = failureOf(exception);
    if (failure.code === 'internal') this.logger.error({ err: exception }, 'a request failed');
    // Only what policy has allowed gets as far as an upstream, so no stranger fills the log with these.
    else if (failure.code.startsWith('provider_'))
      this.logger.warn({ code: failure.code, reason: failure.reason }, 'an upstream failed a request');
    if (reply.sent || reply.raw.headersSent) return;
    const answer = () => answerFailure(reply, failure, request.routeOptions.url ?? '');
    if (failure.status === 413) afterDiscarding(request.raw, answer);
    else answer();
  }
}

/** Most that is read of a body that is too large, in bytes and milliseconds. */
const mostDiscarded = { bytes: 16 * 1024 * 1024, ms: 2_000 };

/**
 * Calls back when the rest of a body has been read and thrown away, or enough of it. A connection that is closed while the
 * client still writes is reset, and the answer lost with it (RFC 9112 §9.6).
 */
function afterDiscarding(body: IncomingMessage, done: () => void): void {
  if (body.readableEnded || body.destroyed) {
    done();
    return;
  }
  let left = mostDiscarded.bytes;
  const discard = (chunk: Buffer) => {
    left -= chunk.byteLength;
    if (left < 0) finish();
  };
  const finish = () => {
    clearTimeout(timer);
    body.off('data', discard).off('end', finish).off('close', finish);
    done();
  };
  const timer = setTimeout(finish, mostDiscarded.ms);
  body.on('data', discard).on('end', finish).on('close', finish).resume();
}

/** Answers in the form of the endpoint. `path` is that of the route, empty where there is none. */
export function answerFailure(reply: FastifyReply, failure: Failure, path: string): void {
  if (oauthPaths.has(path)) sendOAuthError(reply, failure, path);
  else sendProblem(reply, failure);
}

/** Answers with problem details. */
function sendProblem(reply: FastifyReply, failure: Failure): void {
  const { code } = failure;
  const problem = problemOf(failure);
  challenge(reply, code);
  void reply.status(problem.status).header('content-type', 'application/problem+json').send(problem);
}

function problemOf({ code, reason, status }: Failure): Problem {
  const entry = errorTable[code];
  const traceId = currentTraceId();
  return {
    type: `urn:mayfly:error:${code}`,
    title: entry.title,
    status: status ?? entry.status,
    detail: reason,
    code,
    retryable: entry.retryable,
    ...(traceId === undefined ? {} : { trace_id: traceId }),
  };
}

/** For what Fastify refuses before it has found a route, such as a path that can't be decoded. */
export function answerFrameworkError(error: unknown, _request: unknown, reply: FastifyReply): void {
  sendProblem(reply, failureOf(error));
}

/**
 * For what Node refuses before there is a request: bytes that are no HTTP, headers that are too large, a client that is too
 * slow. The connection is closed, since where the next request would begin is unknown.
 */
export function answerClientError(error: Error & { code?: string }, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  if (socket.writable) {
    const problem = problemOf(refusedByNode[error.code ?? ''] ?? unreadableBytes);
    const body = JSON.stringify(problem);
    socket.write(
      [
        `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? ''}`,
        'Content-Type: application/problem+json',
        `Content-Length: ${Buffer.byteLength(body)}`,
        'Connection: close',
        'Cache-Control: no-store',
        '',
        body,
      ].join('\r\n'),
    );
  }
  socket.destroy(error);
}

const unreadableBytes: Failure = { code: 'invalid_request', reason: 'the request can not be read' };

/** https://nodejs.org/api/http.html#event-clienterror */
const refusedByNode: Record<string, Failure> = {
  ERR_HTTP_REQUEST_TIMEOUT: { code: 'invalid_request', reason: 'the request came too slowly', status: 408 },
  HPE_HEADER_OVERFLOW: { code: 'invalid_request', reason: 'the headers are too large', status: 431 },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: { code: 'invalid_request', reason: 'the body is too large', status: 413 },
};

function sendOAuthError(reply: FastifyReply, { code, reason, status }: Failure, path: string): void {
  const entry = errorTable[code];
  const traceId = currentTraceId();
  const atTokenEndpoint = path === tokenPath;
  // RFC 8693 §2.2.2: a subject token that is invalid or unacceptable is 400 invalid_request at the token endpoint.
  const unacceptable = atTokenEndpoint && (code === 'unauthenticated' || code === 'policy_denied');
  const unsupported = atTokenEndpoint && code === 'invalid_request' && reason.startsWith('grant_type');
  const body: z.infer<typeof OAuthError> = {
    error: unsupported ? 'unsupported_grant_type' : unacceptable ? 'invalid_request' : entry.oauth,
    // RFC 6749 §5.2 allows printable ASCII without quotes and backslashes only.
    error_description: reason.replace(/"/g, "'").replace(/[^\x20-\x21\x23-\x5B\x5D-\x7E]/g, '?'),
    code,
    ...(traceId === undefined ? {} : { trace_id: traceId }),
  };
  if (!atTokenEndpoint) challenge(reply, code);
  void reply.status(unacceptable ? 400 : (status ?? entry.status)).send(body);
}

/** RFC 6750 §3: a 401 names the scheme. Retry-After (RFC 9110 §10.2.3) tells clients not to hammer. */
function challenge(reply: FastifyReply, code: ErrorCode): void {
  if (code === 'unauthenticated') void reply.header('www-authenticate', 'Bearer error="invalid_token"');
  if (code === 'rate_limited' || code === 'dependency_unavailable' || code === 'provider_unavailable') {
    void reply.header('retry-after', '1');
  }
}

/** What Fastify says of a request it could not read, in Mayfly's words. */
const unreadable: Record<string, Failure> = {
  FST_ERR_CTP_BODY_TOO_LARGE: { code: 'invalid_request', reason: 'the body is too large', status: 413 },
  FST_ERR_CTP_INVALID_MEDIA_TYPE: {
    code: 'invalid_request',
    reason: 'this Content-Type is not accepted here',
    status: 415,
  },
  FST_ERR_CTP_EMPTY_JSON_BODY: { code: 'invalid_request', reason: 'the body is empty' },
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: {
    code: 'invalid_request',
    reason: 'the Content-Length does not fit the body',
  },
  FST_ERR_MAX_PARAM_LENGTH: { code: 'invalid_request', reason: 'the path is too long', status: 414 },
};

export function failureOf(exception: unknown): Failure {
  if (exception instanceof MayflyError) return { code: exception.code, reason: exception.reason };
  const fastifyCode =
    typeof exception === 'object' && exception !== null && 'code' in exception ? String(exception.code) : '';
  const known = unreadable[fastifyCode];
  if (known !== undefined) return known;
  const status = statusOf(exception);
  if (status === 404)
    return {
      code: 'not_found',
      reason: 'there is nothing at this path; GET /openapi.json lists what there is',
    };
  if (status !== undefined && status >= 400 && status < 500)
    return { code: 'invalid_request', reason: 'the request can not be read', status };
  return { code: 'internal', reason: 'internal error; the trace id leads to what happened' };
}

function statusOf(exception: unknown): number | undefined {
  if (exception instanceof HttpException) return exception.getStatus();
  if (
    typeof exception === 'object' &&
    exception !== null &&
    'statusCode' in exception &&
    typeof exception.statusCode === 'number'
  ) {
    return exception.statusCode;
  }
  return undefined;
}
