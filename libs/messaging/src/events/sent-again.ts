/**
 * What was stored lately is sent once more after the server was away. A server may lose what it has acknowledged: it writes a
 * little later, so a full disk or a loss of power takes the last messages with it. Ids make the repetition harmless: the
 * stream drops what it still knows, and every consumer takes an event once.
 *
 * In memory, so what is lost with the server is lost if the publisher dies at the same moment.
 */
import type { NatsConnection } from '@nats-io/transport-node';
import { watch } from '../connection.ts';
import { streams } from '../topology.ts';

export interface SentAgainOptions {
  /** Sends one of them. */
  readonly send: (message: StoredMessage) => Promise<unknown>;
  /** Told how many were sent again, and how many of them could not be. */
  readonly onSent?: (count: number, failed: number) => void;
  /** How long after the reconnect, in milliseconds; default 5,000: by then the streams are in order, or set up anew. */
  readonly afterMs?: number;
  /** The time, in milliseconds of a clock that never goes back; default `performance.now`. */
  readonly now?: () => number;
}

export interface StoredMessage {
  readonly subject: string;
  readonly payload: string;
  readonly messageId: string;
  readonly traceparent: string | undefined;
}

/** As far back as is remembered, whichever is less: milliseconds before the last message, messages, characters. */
const rememberedMs = 30_000;
const mostMessages = 5_000;
const mostCharacters = 8 * 1024 * 1024;

/**
 * What is older than this when it could be sent again is not: the stream may have forgotten its id, and what an idle publisher said
 * last, hours ago, need not be so any more. Below the time for which ids are known, by as long as sending may take. Milliseconds.
 */
const oldestSentMs = streams.MAYFLY_EVENTS.duplicateWindowMs - 60_000;

const sentAtOnce = 100;

export class SentAgain {
  readonly #kept: { readonly message: StoredMessage; readonly at: number }[] = [];
  /** Those before it are forgotten, and cut off now and then. */
  #first = 0;
  #characters = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #now: () => number;

  constructor(
    connection: NatsConnection,
    private readonly options: SentAgainOptions,
  ) {
    this.#now = options.now ?? (() => performance.now());
    watch(connection).onReconnect.add(() => this.#soon());
  }

  /** The stream has acknowledged it. */
  remember(message: StoredMessage): void {
    const at = this.#now();
    this.#kept.push({ message, at });
    this.#characters += message.payload.length;
    for (;;) {
      const oldest = this.#kept[this.#first];
      if (oldest === undefined || !this.#isTooMuch(oldest.at, at)) break;
      this.#first++;
      this.#characters -= oldest.message.payload.length;
    }
    if (this.#first > mostMessages) {
      this.#kept.splice(0, this.#first);
      this.#first = 0;
    }
  }

  #isTooMuch(oldestAt: number, now: number): boolean {
    return (
      now - oldestAt > rememberedMs ||
      this.#kept.length - this.#first > mostMessages ||
      this.#characters > mostCharacters
    );
  }

  #soon(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#sendAll(), this.options.afterMs ?? 5_000);
    this.#timer.unref();
  }

  /** Those of before the loss, and those of since the reconnect as well: the stream may not have been in order yet. */
  async #sendAll(): Promise<void> {
    const since = this.#now() - oldestSentMs;
    const kept = this.#kept.slice(this.#first).filter(({ at }) => at >= since);
    const messages = kept.map(({ message }) => message);
    let failed = 0;
    for (let next = 0; next < messages.length; next += sentAtOnce) {
      const batch = messages.slice(next, next + sentAtOnce);
      const outcomes = await Promise.allSettled(batch.map((message) => this.options.send(message)));
      failed += outcomes.filter(({ status }) => status === 'rejected').length;
    }
    if (messages.length > 0) this.options.onSent?.(messages.length, failed);
  }
}
