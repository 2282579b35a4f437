/**
 * Answers the bus' operations: a transport of Nest's, so handlers are ordinary controllers, with Mayfly's wire format.
 *
 * The server itself parses every input with the operation's schema before the handler runs. Nest's
 * `StandardSchemaValidationPipe` is not used: it lets pass what has no schema, where this refuses to start, and an input
 * would be parsed once more.
 */
import { busOperations, errorTable, MayflyError, presenceSubject, subjectOf } from '@mayfly/contracts';
import type { BusOperation, ErrorCode, ServiceName } from '@mayfly/contracts';
import { NatsContext, ServerNats } from '@nestjs/microservices';
import type { MessageHandler } from '@nestjs/microservices';
import type { Msg, NatsConnection, Subscription } from '@nats-io/transport-node';
import { context, SpanKind, trace } from '@opentelemetry/api';
import type { Attributes } from '@opentelemetry/api';
import { firstValueFrom, isObservable } from 'rxjs';
import { watch, type BusLogger } from '../connection.ts';
import { withDeadline } from '../deadline.ts';
import { endSpan, extractTrace, messagingAttributes, tracer } from '../tracing.ts';
import { timeAllowed } from './time-allowed.ts';
import { untold, type WorkScope } from '../work-scope.ts';
import type { HandlesExtras } from './handles.ts';
import { describeIssues, errorReply, NestedTooDeeply, okReply, parseJson, readWholeNumber } from './wire.ts';

export interface RpcServerOptions {
  /** Shared with whatever else the service does on the bus; the server never closes it. */
  connection: NatsConnection;
  /** Also the queue group: each request goes to one replica. */
  service: ServiceName;
  /** Where failures go that are not told on the wire. Default Nest's logger. */
  logger?: Pick<BusLogger, 'error'>;
  /** Most requests handled at once; more are refused. Vital operations are not among them. Default 256. */
  maxConcurrent?: number;
  /**
   * Most requests of vital operations handled at once (`BusBinding.vital`), beside the others; more are refused. Default 256: four
   * times the ends and clean-ups that a replica of revocation runs at once by default.
   */
  maxVital?: number;
  /** Told what each request is about, for the log lines of its work. */
  scope?: WorkScope;
  /** Told once per request, for metrics. */
  onHandled?: (operation: string, code: ErrorCode | 'ok', seconds: number) => void;
}

/** A handler and what is asked of it with every request, made once. */
interface Bound {
  readonly operation: BusOperation;
  readonly subject: string;
  readonly handler: MessageHandler;
  readonly attributes: Attributes;
}

/** So many requests may be handled at once, and so many are. */
interface Places {
  readonly most: number;
  held: number;
}

/** How long `close` waits for requests that are being handled, in milliseconds: an upstream has 20 s, and a process that stops 25 s. */
const closeGraceMs = 22_000;
/** Nobody waits longer for an answer, in milliseconds. */
const longestCallMs = 60_000;

export class RpcServer extends ServerNats {
  private readonly own: RpcServerOptions;
  private readonly scope: WorkScope;
  private readonly places: Places;
  /** What ends things never waits for what begins them: an upstream that hangs holds places for as long as its calls may take. */
  private readonly vitalPlaces: Places;
  private readonly bound: Subscription[] = [];
  private presence: Subscription | undefined;
  /** Since when requests surely reach it and its answers leave; milliseconds, monotonic. What a connection had to answer is lost with it. */
  private reachableSince = Infinity;
  /** Since when it takes no more requests; likewise. */
  private closingSince = Infinity;
  private idle: (() => void) | undefined;

  private readonly becomeReachable = () => {
    this.reachableSince = Infinity;
    // The client forgets a subscription that the bus has refused. Mostly the bus was restarted meanwhile, to allow it.
    if (this.presence?.isClosed() !== false) this.listenForQuestions();
    // With the answer to this the server has read the subscriptions.
    this.own.connection.flush().then(
      () => (this.reachableSince = performance.now()),
      () => undefined,
    );
  };

  constructor(options: RpcServerOptions) {
    super({ queue: options.service });
    this.own = options;
    this.scope = options.scope ?? untold;
    this.places = { most: options.maxConcurrent ?? 256, held: 0 };
    this.vitalPlaces = { most: options.maxVital ?? 256, held: 0 };
  }

  /** The operations of this service that no controller handles; a service's own test expects none. */
  unhandledOperations(): BusOperation[] {
    return busOperations.filter(
      (operation) =>
        operation.bus.service === this.own.service && !this.messageHandlers.has(subjectOf(operation)),
    );
  }

  /** Refuses a second handler for an operation: Nest would let the last one win. */
  override addHandler(
    pattern: unknown,
    handler: MessageHandler,
    isEventHandler?: boolean,
    extras?: Record<string, unknown>,
  ): void {
    if (this.messageHandlers.has(this.normalizePattern(pattern as string))) {
      throw new Error(`two handlers for ${String(pattern)}`);
    }
    super.addHandler(pattern, handler, isEventHandler, extras);
  }

  override createNatsClient(): Promise<NatsConnection> {
    return Promise.resolve(this.own.connection);
  }

  /** Called by `listen`; what it throws keeps the service from starting. */
  override bindEvents(): void {
    // All are checked before the first is subscribed: a service answers completely or not at all.
    const all = [...this.messageHandlers].map(([pattern, handler]) => this.bind(pattern, handler));
    for (const bound of all) {
      this.bound.push(
        this.own.connection.subscribe(bound.subject, {
          queue: this.own.service,
          callback: (error, message) => {
            if (error) this.fail(error, `subscription to ${bound.subject} ended`);
            else this.receive(bound, message);
          },
        }),
      );
    }
    if (all.length === 0) return;
    this.becomeReachable();
    watch(this.own.connection).onReconnect.add(this.becomeReachable);
  }

  /** Stops taking requests and waits, up to 22 s, for those being handled. The connection stays open. */
  override async close(): Promise<void> {
    const connection = this.own.connection;
    this.closingSince = performance.now();
    if (!connection.isClosed())
      await Promise.allSettled(this.bound.map((subscription) => subscription.drain()));
    this.bound.length = 0;
    await this.untilIdle();
    // Last: who still waits for an answer must not take the service for dead.
    if (!connection.isClosed()) this.presence?.unsubscribe();
    watch(connection).onReconnect.delete(this.becomeReachable);
  }

  private async untilIdle(): Promise<void> {
    if (this.isIdle()) return;
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([
      new Promise<void>((resolve) => (this.idle = resolve)),
      new Promise<void>((resolve) => (timer = setTimeout(resolve, closeGraceMs))),
    ]);
    clearTimeout(timer);
  }

  private bind(pattern: string, handler: MessageHandler): Bound {
    const { operation } = (handler.extras ?? {}) as HandlesExtras;
    if (handler.isEventHandler || operation === undefined || subjectOf(operation) !== pattern) {
      throw new Error(`the handler of ${pattern} has no operation: use @Handles (and @Consumes for events)`);
    }
    if (operation.bus.service !== this.own.service) {
      throw new Error(`${operation.name} belongs to ${operation.bus.service}, not to ${this.own.service}`);
    }
    return {
      operation,
      subject: pattern,
      handler,
      attributes: messagingAttributes('process', pattern, {
        'rpc.system': 'nats',
        'rpc.service': operation.bus.service,
        'rpc.method': operation.bus.operation,
      }),
    };
  }

  private receive(bound: Bound, message: Msg): void {
    // Nobody waits for an answer, so nobody may have it done.
    if (!message.reply) return;
    const places = bound.operation.bus.vital === true ? this.vitalPlaces : this.places;
    if (places.held >= places.most) {
      message.respond(errorReply('dependency_unavailable', `${this.own.service} is overloaded`));
      this.own.onHandled?.(bound.operation.name, 'dependency_unavailable', 0);
      return;
    }
    places.held++;
    void this.answer(bound, message).finally(() => {
      places.held--;
      if (this.isIdle()) this.idle?.();
    });
  }

  private listenForQuestions(): void {
    const subject = presenceSubject(this.own.service);
    this.presence = this.own.connection.subscribe(subject, {
      callback: (error, message) => {
        if (error) this.fail(error, `subscription to ${subject} ended`);
        else this.tellPresence(message);
      },
    });
  }

  /**
   * Answers who asks for a replica that has been there for as long as the question says (`Presence`). Every replica does, so the queue group
   * takes no part: one that hangs must not make the others seem to be away. A replica of some age answers whatever is asked, because the bus
   * remembers for a while whom it may still answer.
   */
  private tellPresence(message: Msg): void {
    if (!message.reply) return;
    const now = performance.now();
    const upForMs = now - this.reachableSince;
    const asked = Math.min(readWholeNumber(message.string()) ?? 0, longestCallMs);
    // Whoever has a request being finished here goes on waiting, and whoever came too late does not.
    if (asked < now - this.closingSince) return;
    if (asked <= Math.max(0, upForMs)) this.lastWord(message, String(Math.max(0, Math.floor(upForMs))));
  }

  private isIdle(): boolean {
    return this.places.held + this.vitalPlaces.held === 0;
  }

  /** Replies exactly once, whatever happens. Never rejects. */
  private async answer(bound: Bound, message: Msg): Promise<void> {
    const started = performance.now();
    const parent = extractTrace(message.headers);
    const span = tracer().startSpan(
      `process ${bound.subject}`,
      { kind: SpanKind.SERVER, attributes: bound.attributes },
      parent,
    );
    // What is logged of a failure belongs to the trace and to the lease of the request, as what is logged by the handler.
    const outcome = await context.with(trace.setSpan(parent, span), () =>
      this.scope.about({}, () => this.handleAndReply(bound, message)),
    );
    endSpan(span, outcome);
    this.own.onHandled?.(bound.operation.name, outcome, (performance.now() - started) / 1000);
  }

  private async handleAndReply(bound: Bound, message: Msg): Promise<ErrorCode | 'ok'> {
    let outcome: ErrorCode | 'ok' = 'ok';
    let reply: string;
    try {
      reply = await this.handle(bound, message);
    } catch (error) {
      [outcome, reply] = this.refuse(bound, error);
    }
    try {
      message.respond(reply);
    } catch (error) {
      // Larger than the bus carries, or the connection is closed.
      [outcome, reply] = this.refuse(bound, error);
      this.lastWord(message, reply);
    }
    return outcome;
  }

  private async handle(bound: Bound, message: Msg): Promise<string> {
    const { operation } = bound;
    const allowedMs = timeAllowed(message.headers, operation.bus.timeoutMs);
    if (allowedMs <= 0) throw new MayflyError('dependency_unavailable', 'deadline passed');
    const input = parseInput(operation, message.data);
    if (typeof input === 'object' && input !== null) this.scope.describe(input);
    const output = await withDeadline(allowedMs, () => this.run(bound, input, message));
    // A handler's defect must not leak a field that the contract does not know.
    const checked = operation.output.safeParse(output);
    if (!checked.success) {
      throw new Error(`output of ${operation.name} breaks its contract: ${describeIssues(checked.error)}`);
    }
    return okReply(checked.data);
  }

  /** Calls the controller, through Nest's guards and interceptors, between Nest's hooks. */
  private run(bound: Bound, input: unknown, message: Msg): Promise<unknown> {
    const natsContext = new NatsContext([message.subject, message.headers]);
    return new Promise((resolve, reject) => {
      this.runWithProcessingHooks(natsContext, async (end) => {
        try {
          const result: unknown = await bound.handler(input, natsContext);
          // A plain value needs no rxjs; Nest answers an error, and an interceptor anything, with an observable.
          resolve(isObservable(result) ? await firstValueFrom(result, { defaultValue: undefined }) : result);
        } catch (error) {
          reject(error instanceof Error ? error : new Error('a handler threw no error', { cause: error }));
        } finally {
          end();
        }
      });
    });
  }

  /** What the caller may know of a failure. Anything but a `MayflyError` is a defect: logged, and told as `internal`. */
  private refuse(bound: Bound, error: unknown): [ErrorCode, string] {
    if (error instanceof MayflyError) {
      // What a stranger can cause by a bad token must not fill the error log: only what is wrong on our side is one.
      // An upstream that is left alone has no cause, and whoever was refused for it must find out why all the same.
      const isTold = error.cause !== undefined || error.code.startsWith('provider_');
      if (isTold && errorTable[error.code].status >= 500) {
        this.fail(error, `${bound.operation.name} answered ${error.code}`);
      }
      return [error.code, errorReply(error.code, error.reason)];
    }
    this.fail(error, `${bound.operation.name} failed`);
    return ['internal', errorReply('internal', 'internal error')];
  }

  private lastWord(message: Msg, reply: string): void {
    try {
      message.respond(reply);
    } catch {
      // The connection is gone, and the caller's request with it.
    }
  }

  private fail(error: unknown, message: string): void {
    if (this.own.logger) this.own.logger.error({ err: error }, message);
    else this.logger.error(message, error instanceof Error ? error.stack : error);
  }
}

/** Throws `invalid_request` with what is wrong and where, without the values. */
function parseInput(operation: BusOperation, data: Uint8Array): unknown {
  let json: unknown;
  try {
    json = parseJson(data);
  } catch (error) {
    const isDeep = error instanceof NestedTooDeeply;
    throw new MayflyError('invalid_request', isDeep ? 'nested too deeply' : 'not JSON');
  }
  const parsed = operation.input.safeParse(json);
  if (!parsed.success) throw new MayflyError('invalid_request', describeIssues(parsed.error));
  return parsed.data;
}
