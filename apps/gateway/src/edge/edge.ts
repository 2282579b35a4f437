/**
 * What every request passes before anybody works for it, in this order: whose it is, whether its source sends too many, whether the
 * path has its method. Then its body comes, and only when that is there a place is taken. The place is given back when the answer is
 * ready; whether it is read in time is the connection's matter.
 */
import { http, type HttpOperation } from '@mayfly/contracts';
import { aboutWork, type ConnectionCut } from '@mayfly/telemetry';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { refusalReasons, type Admission, type RequestKind } from '../admission/admission.ts';
import { bodyLimitBytes, bodyLimitOf } from '../http/body-parsers.ts';
import { answerClientError, answerFailure } from '../http/error-filter.ts';
import { knownPathOf, operationOfRoute } from '../http/known-paths.ts';
import type { GatewaySettings } from '../settings.ts';
import { sourceOf } from './caller-address.ts';
import { Connections, type Connection } from './connections.ts';
import { UnreadAnswers } from './unread-answers.ts';
import { UnreadBodies } from './unread-bodies.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** The caller's canonical address; empty until it has been told. */
    callerAddress: string;
    /** Where the request stands; null until it has been let on. */
    passage: Passage | null;
  }
}

interface Passage {
  readonly source: string;
  readonly kind: RequestKind;
  readonly operation: HttpOperation | undefined;
  readonly connection: Connection;
  /** Gives its place back; there while it has one. */
  leave: (() => void) | undefined;
}

/** Connections that Node turns away by itself come only on top of these: a bound for when the count here should ever be wrong. */
const spareConnections = 64;

/** Idle time that trusted proxies are told: longer than the 60 s of most, because who closes first loses no request. Milliseconds. */
export const proxyIdleMs = 75_000;

export class Edge {
  readonly #settings: GatewaySettings;
  readonly #admission: Admission;
  readonly #connections: Connections;
  readonly #bodies: UnreadBodies;
  readonly #answers: UnreadAnswers;
  readonly #keepAlive: string;
  readonly #onCut: (cause: ConnectionCut) => void;

  constructor(settings: GatewaySettings, admission: Admission, onCut: (cause: ConnectionCut) => void) {
    this.#settings = settings;
    this.#admission = admission;
    this.#onCut = onCut;
    this.#connections = new Connections(
      {
        most: settings.MAYFLY_MAX_CONNECTIONS,
        mostOfSource: settings.MAYFLY_MAX_CONNECTIONS_PER_SOURCE,
        idleMs: settings.MAYFLY_IDLE_TIMEOUT_MS,
        answerMs: settings.MAYFLY_ANSWER_TIMEOUT_MS,
      },
      settings.MAYFLY_TRUSTED_PROXIES,
      onCut,
    );
    const places = settings.MAYFLY_MAX_UNREAD_BODIES;
    this.#bodies = new UnreadBodies({ most: places, mostOfSource: Math.ceil(places / 2) }, onCut);
    const answerBytes = settings.MAYFLY_MAX_UNREAD_ANSWER_BYTES;
    this.#answers = new UnreadAnswers({ most: answerBytes, mostOfSource: Math.ceil(answerBytes / 2) });
    this.#keepAlive = `timeout=${Math.ceil(settings.MAYFLY_IDLE_TIMEOUT_MS / 1_000)}`;
  }

  /** Connections that are open now. */
  get openConnections(): number {
    return this.#connections.size;
  }

  /** To be called before any route is declared. */
  register(fastify: FastifyInstance): void {
    const { server } = fastify;
    server.maxConnections = this.#settings.MAYFLY_MAX_CONNECTIONS + spareConnections;
    this.#connections.watch(server);
    fastify.decorateRequest('callerAddress', '');
    fastify.decorateRequest('passage', null);
    fastify.addHook('onRoute', (route) => {
      route.bodyLimit = bodyLimitOf(route.url);
    });
    fastify.addHook('onRequest', (request, reply, done) => this.#onHeaders(request, reply, done));
    fastify.addHook('preValidation', (request, reply, done) => this.#onWholeRequest(request, reply, done));
    fastify.addHook('onSend', (request, reply, payload, done) => {
      this.#onAnswer(request, reply, sizeOf(payload));
      done(null, payload);
    });
  }

  /** For Node's `clientError`. */
  refuseUnreadable(error: Error & { code?: string }, socket: Parameters<typeof answerClientError>[1]): void {
    // Comes again when the answer below ends the connection.
    if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT' && !socket.destroyed) this.#onCut('slow_request');
    answerClientError(error, socket);
  }

  #onHeaders(request: FastifyRequest, reply: FastifyReply, done: () => void): void {
    const { raw } = request;
    const connection = this.#connections.of(raw.socket);
    void reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff');
    if (connection.source !== undefined) void reply.header('keep-alive', this.#keepAlive);
    const route = request.routeOptions.url ?? '';
    const forwardedFor = raw.headers['x-forwarded-for'];
    const caller = this.#settings.MAYFLY_TRUSTED_PROXIES.callerOf(
      raw.socket.remoteAddress,
      typeof forwardedFor === 'string' ? forwardedFor : forwardedFor?.join(','),
    );
    if (caller === undefined) {
      const reason = 'the proxy does not tell the address of the caller';
      return answerFailure(reply, { code: 'invalid_request', reason }, route);
    }
    request.callerAddress = caller;
    const source = sourceOf(caller);
    const operation = operationOfRoute(request.method, route);
    const kind = kindOf(operation);
    request.passage = { source, kind, operation, connection, leave: undefined };
    const refusal = this.#admission.chargeSource(source, kind);
    if (refusal !== undefined) {
      // Nobody reads its body, and a source that sends too many may cut off none of those that are read.
      if (announcedBytes(request) > 0) void reply.header('connection', 'close');
      return answerFailure(reply, { code: 'rate_limited', reason: refusalReasons[refusal] }, route);
    }
    this.#expectBody(request, reply, source, connection);
    if (request.is404 && answerOtherMethod(request, reply)) return;
    done();
  }

  /** Counts a body from the headers that announce it until it is there, whether anybody reads it or not. */
  #expectBody(request: FastifyRequest, reply: FastifyReply, source: string, connection: Connection): void {
    const { raw } = request;
    const bytes = announcedBytes(request);
    if (bytes === 0) {
      connection.readBefore = raw.socket.bytesRead;
      return;
    }
    // Nobody reads it here, so the next request on this connection could wait for its end for long.
    if (raw.method === 'GET' || raw.method === 'HEAD') void reply.header('connection', 'close');
    connection.reading++;
    const { socket } = raw;
    const cutOff = () => {
      // An answer that is under way may not be cut in two by another one.
      if (connection.working > 0 || connection.answering > 0) socket.destroy();
      else
        answerClientError(Object.assign(new Error('too slow'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }), socket);
    };
    const release = this.#bodies.expect(source, {
      bytes,
      received: () => socket.bytesRead - connection.readBefore,
      cutOff,
    });
    let isOver = false;
    const over = () => {
      if (isOver) return;
      isOver = true;
      connection.reading--;
      connection.readBefore = socket.bytesRead;
      connection.idleSince = performance.now();
      release();
    };
    raw.once('end', over).once('close', over);
  }

  #onWholeRequest(request: FastifyRequest, reply: FastifyReply, done: () => void): void {
    const { passage } = request;
    if (passage === null) throw new Error('a request came to its work without having been let on');
    const entered = this.#admission.enter(passage.source, passage.kind);
    if (typeof entered === 'string') {
      const reason = refusalReasons[entered];
      return answerFailure(reply, { code: 'rate_limited', reason }, request.routeOptions.url ?? '');
    }
    const { connection } = passage;
    connection.working++;
    passage.leave = () => {
      passage.leave = undefined;
      connection.working--;
      entered();
    };
    // Here, because a scope that was opened before the body was there would be lost while waiting for it.
    aboutWork({}, done);
  }

  /** The work is done, also when its client has gone meanwhile: until then its place is not free. */
  #onAnswer(request: FastifyRequest, reply: FastifyReply, bytes: number): void {
    const { passage } = request;
    if (passage === null) return;
    passage.leave?.();
    const { connection, operation, source } = passage;
    if (reply.statusCode < 300 && isProven(operation)) connection.known = true;
    if (reply.raw.destroyed || connection.socket.destroyed) return;
    connection.answering++;
    connection.answeringSince = performance.now();
    const release = this.#answers.expect(source, bytes, () => {
      this.#onCut('unread_answers');
      connection.socket.destroy();
    });
    reply.raw.once('close', () => {
      release();
      connection.answering--;
      connection.answeringSince = connection.idleSince = performance.now();
    });
  }
}

function kindOf(operation: HttpOperation | undefined): RequestKind {
  const isVital = operation?.http.vital === true;
  if (operation?.http.auth === 'session') return isVital ? 'vital' : 'usual';
  return isVital ? 'open_vital' : 'open';
}

/** Whether a success of this operation proves that policy has verified somebody. */
function isProven(operation: HttpOperation | undefined): boolean {
  return operation?.http.auth === 'session' || operation === http.oauth.token;
}

/** Most bytes that the headers of a request let expect of its body. */
function announcedBytes({ raw, routeOptions }: FastifyRequest): number {
  const limit = routeOptions.bodyLimit ?? bodyLimitBytes;
  if (raw.headers['transfer-encoding'] !== undefined) return limit;
  return Math.min(Number(raw.headers['content-length'] ?? 0), limit);
}

/** Bytes of an answer's body. None of Mayfly's is a stream. */
function sizeOf(payload: unknown): number {
  if (typeof payload === 'string') return Buffer.byteLength(payload);
  return Buffer.isBuffer(payload) ? payload.length : 0;
}

/** Answers what came to a known path by a method that it does not have. False when nothing is known there. */
function answerOtherMethod(request: FastifyRequest, reply: FastifyReply): boolean {
  const known = knownPathOf(request.raw.url ?? '');
  if (known === undefined) return false;
  const allow = known.methods.join(', ');
  void reply.header('allow', allow);
  if (request.method === 'OPTIONS') void reply.status(204).send();
  else {
    const reason = `this path has the methods ${allow}`;
    answerFailure(reply, { code: 'invalid_request', reason, status: 405 }, known.path);
  }
  return true;
}
