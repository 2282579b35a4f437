/** Publishes events and signals, acknowledged by the stream that keeps them. */
import { eventSubject, MayflyError, MayflyEvent, shortType } from '@mayfly/contracts';
import type { ErrorCode, ServiceName } from '@mayfly/contracts';
import { context, SpanKind, trace } from '@opentelemetry/api';
import { headers as newHeaders } from '@nats-io/transport-node';
import type { NatsConnection } from '@nats-io/transport-node';
import { describeIssues } from '../rpc/wire.ts';
import { streamOf } from '../topology.ts';
import { contextOf, endSpan, injectTrace, messagingAttributes, tracer } from '../tracing.ts';
import { storeDeadLetter } from './dead-letter.ts';
import { PoisonMessage } from './delivery.ts';
import { sourceOf } from './new-event.ts';
import { SentAgain, type StoredMessage } from './sent-again.ts';
import { store } from './store.ts';

export interface EventPublisherOptions {
  service: ServiceName;
  /** A signal was not stored; for metrics and the log. */
  onSignalLost?: (event: MayflyEvent, error: MayflyError) => void;
  /** After the server was away, events of the last seconds were sent once more; `failed` of them could not be. */
  onSentAgain?: (count: number, failed: number) => void;
  /** How long after the reconnect that is done, in milliseconds. */
  sendAgainAfterMs?: number;
}

export interface PublishOptions {
  /** `Nats-Msg-Id`; default the event's id. The stream drops a second message with the same one for 5 minutes. */
  messageId?: string;
  /** How long to wait for the acknowledgement. Default 5,000. */
  timeoutMs?: number;
}

export class EventPublisher {
  readonly #sentAgain: SentAgain;

  constructor(
    private readonly connection: NatsConnection,
    private readonly options: EventPublisherOptions,
  ) {
    const { onSentAgain, sendAgainAfterMs } = options;
    this.#sentAgain = new SentAgain(connection, {
      send: (message) => this.#sendAgain(message),
      ...(onSentAgain !== undefined && { onSent: onSentAgain }),
      ...(sendAgainAfterMs !== undefined && { afterMs: sendAgainAfterMs }),
    });
  }

  /**
   * Resolves when the stream has stored the event, or had it already (`duplicate`).
   *
   * Throws `MayflyError`: `dependency_unavailable` when the stream is full, missing or silent, `internal` for an event that
   * does not fit its contract (then its cause is a `PoisonMessage`): such a one is never sent.
   */
  async publish(event: MayflyEvent, options: PublishOptions = {}): Promise<{ duplicate: boolean }> {
    const checked = this.check(event);
    const subject = eventSubject(shortType(checked));
    // An event that is relayed later has no request around it: its span then belongs to the trace that the event names.
    const active = context.active();
    const parent =
      checked.traceparent !== undefined && trace.getSpanContext(active) === undefined
        ? contextOf(checked.traceparent)
        : active;
    const span = tracer().startSpan(
      `send ${subject}`,
      {
        kind: SpanKind.PRODUCER,
        attributes: messagingAttributes('send', subject, { 'messaging.message.id': checked.id }),
      },
      parent,
    );
    const headers = newHeaders();
    if (checked.traceparent === undefined) injectTrace(headers, trace.setSpan(parent, span));
    else headers.set('traceparent', checked.traceparent);
    const messageId = options.messageId ?? checked.id;
    headers.set('Nats-Msg-Id', messageId);
    const stream = streamOf(subject);
    const payload = JSON.stringify(checked);
    let outcome: ErrorCode | 'ok' = 'ok';
    try {
      const stored = await store(this.connection, stream, subject, payload, {
        headers,
        timeoutMs: options.timeoutMs ?? 5_000,
      });
      const traceparent = headers.get('traceparent') || undefined;
      if (stream === 'MAYFLY_EVENTS') this.#sentAgain.remember({ subject, payload, messageId, traceparent });
      return stored;
    } catch (error) {
      outcome = error instanceof MayflyError ? error.code : 'internal';
      throw error;
    } finally {
      endSpan(span, outcome);
    }
  }

  /** Puts what can never be published into `MAYFLY_DEAD`. Throws `MayflyError` like `publish`. */
  async bury(event: string, messageId: string, reason: string): Promise<void> {
    await storeDeadLetter(this.connection, this.options.service, {
      data: new TextEncoder().encode(event),
      reason,
      messageId: `outbox.${messageId}`,
      origin: { 'Mayfly-Message-Id': messageId },
    });
  }

  /** Publishes what nobody's business may wait for or fail on. Never rejects: a loss goes to `onSignalLost`. */
  async signal(event: MayflyEvent): Promise<void> {
    try {
      await this.publish(event, { timeoutMs: 2_000 });
    } catch (error) {
      this.options.onSignalLost?.(
        event,
        error instanceof MayflyError ? error : new MayflyError('internal', 'signal lost', { cause: error }),
      );
    }
  }

  #sendAgain({ subject, payload, messageId, traceparent }: StoredMessage): Promise<unknown> {
    const headers = newHeaders();
    headers.set('Nats-Msg-Id', messageId);
    if (traceparent !== undefined) headers.set('traceparent', traceparent);
    return store(this.connection, streamOf(subject), subject, payload, { headers, timeoutMs: 5_000 });
  }

  private check(event: MayflyEvent): MayflyEvent {
    const parsed = MayflyEvent.safeParse(event);
    if (!parsed.success) {
      throw new MayflyError('internal', 'internal error', {
        cause: new PoisonMessage(`not an event: ${describeIssues(parsed.error)}`),
      });
    }
    if (parsed.data.source !== sourceOf(this.options.service)) {
      throw new MayflyError('internal', 'internal error', {
        cause: new PoisonMessage(`event of ${parsed.data.source} published by ${this.options.service}`),
      });
    }
    return parsed.data;
  }
}
