/** Calls another service's operations. */
import type { BusOperation, ErrorCode, OutputOf, RawInputOf, ServiceName } from '@mayfly/contracts';
import { MayflyError, subjectOf } from '@mayfly/contracts';
import { context, SpanKind, trace } from '@opentelemetry/api';
import { headers as newHeaders } from '@nats-io/transport-node';
import type { NatsConnection } from '@nats-io/transport-node';
import { remainingMs } from '../deadline.ts';
import { request } from '../request.ts';
import { endSpan, injectTrace, messagingAttributes, tracer } from '../tracing.ts';
import { Presence } from './presence.ts';
import { deadlineHeader, readReply, timeoutHeader } from './wire.ts';

export interface BusClientOptions {
  /** Told once per call, for metrics. */
  onCall?: (operation: string, code: ErrorCode | 'ok', seconds: number) => void;
  /** Told when a service is found to be away, and when it is back. */
  onPresence?: (service: ServiceName, isAway: boolean) => void;
}

/** One for each connection: it knows which services are away. */
export class BusClient {
  readonly #presence: Presence;

  constructor(
    private readonly connection: NatsConnection,
    private readonly options: BusClientOptions = {},
  ) {
    this.#presence = new Presence(connection, options.onPresence);
  }

  /**
   * Calls and waits: for `timeoutMs` (default the operation's own), but never longer than the request being handled has left.
   *
   * Throws `MayflyError`: the code and reason that the service answered with, or `dependency_unavailable` when it did not
   * answer, is away (`Presence`), or answered not as its contract says. After that the outcome is unknown.
   */
  async call<Op extends BusOperation>(
    operation: Op,
    input: RawInputOf<Op>,
    options: { timeoutMs?: number } = {},
  ): Promise<OutputOf<Op>> {
    const started = performance.now();
    const subject = subjectOf(operation);
    const span = tracer().startSpan(`send ${subject}`, {
      kind: SpanKind.CLIENT,
      attributes: messagingAttributes('send', subject, {
        'rpc.system': 'nats',
        'rpc.service': operation.bus.service,
        'rpc.method': operation.bus.operation,
      }),
    });
    let outcome: ErrorCode | 'ok' = 'ok';
    try {
      const timeoutMs = Math.min(options.timeoutMs ?? operation.bus.timeoutMs, remainingMs());
      if (timeoutMs < 1) {
        throw new MayflyError('dependency_unavailable', `no time left to ask ${operation.bus.service}`);
      }
      const headers = newHeaders();
      injectTrace(headers, trace.setSpan(context.active(), span));
      headers.set(deadlineHeader, String(Math.ceil(Date.now() + timeoutMs)));
      headers.set(timeoutHeader, String(Math.ceil(timeoutMs)));
      const message = await this.#presence.whileThere(operation.bus.service, () =>
        request(this.connection, subject, JSON.stringify(input), {
          what: operation.bus.service,
          timeoutMs,
          headers,
        }),
      );
      const reply = readReply(message);
      if (reply === undefined) throw unexpected(operation);
      if ('error' in reply) throw new MayflyError(reply.error.code, reply.error.reason);
      const output = operation.output.safeParse(reply.ok);
      if (!output.success) throw unexpected(operation, output.error);
      return output.data as OutputOf<Op>;
    } catch (error) {
      outcome = error instanceof MayflyError ? error.code : 'internal';
      throw error;
    } finally {
      endSpan(span, outcome);
      this.options.onCall?.(operation.name, outcome, (performance.now() - started) / 1000);
    }
  }
}

function unexpected(operation: BusOperation, cause?: unknown): MayflyError {
  return new MayflyError(
    'dependency_unavailable',
    `${operation.bus.service} gave an answer that cannot be read`,
    { cause },
  );
}
