/** One message as its handler gets it. */
import { eventSubject, MayflyEvent, shortType } from '@mayfly/contracts';
import type { Msg } from '@nats-io/transport-node';
import { describeIssues, parseJson } from '../rpc/wire.ts';

export interface Delivery {
  readonly event: MayflyEvent;
  readonly stream: string;
  /** Position in the stream: the same on every delivery of the message. */
  readonly sequence: number;
  /** How often it was delivered before. */
  readonly redeliveries: number;
  /** This message can never be processed: it goes to `MAYFLY_DEAD` with the reason, and the rest of the batch goes on. */
  reject(reason: string): void;
}

/** Thrown by a handler whose one message can never be processed. In a batch, each message is then tried alone. */
export class PoisonMessage extends Error {
  override readonly name = 'PoisonMessage';
  constructor(
    readonly reason: string,
    options?: { cause?: unknown },
  ) {
    super(reason, options);
  }
}

const ack = new TextEncoder().encode('+ACK');

/**
 * A message that this process holds and must settle, once: nothing else may be said of it, not even that it takes longer. A lost acknowledgement only means another delivery, and every
 * handler is safe to repeat, so acknowledgements are not themselves acknowledged.
 */
export class HeldMessage {
  readonly sequence: number;
  readonly consumerSequence: number;
  readonly redeliveries: number;
  /** How many more the consumer had for us at delivery. */
  readonly pending: number;
  readonly stream: string;
  /** Why the handler rejected it, if it did. */
  rejected: string | undefined;
  private settled = false;

  /** `deliverable`: whether the server still takes an answer. Its permission to answer ends with the connection. */
  constructor(
    readonly message: Msg,
    private readonly deliverable: () => boolean = () => true,
  ) {
    // $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>; from 2.10 on a domain and an
    // account hash may come before the stream.
    const tokens = (message.reply ?? '').split('.');
    const first = tokens.length >= 11 ? 4 : 2;
    this.stream = tokens[first] ?? '';
    this.redeliveries = Number(tokens[first + 2]) - 1;
    this.sequence = Number(tokens[first + 3]);
    this.consumerSequence = Number(tokens[first + 4]);
    this.pending = Number(tokens[first + 6]);
  }

  /** The delivery for the handler. Throws `PoisonMessage` when it is not an event, or not of the subject it came on. */
  open(): Delivery {
    let json: unknown;
    try {
      json = parseJson(this.message.data);
    } catch (cause) {
      throw new PoisonMessage('not JSON', { cause });
    }
    const event = MayflyEvent.safeParse(json);
    if (!event.success) throw new PoisonMessage(`not an event: ${describeIssues(event.error)}`);
    // Permissions are by subject, so a type that another subject stands for is a forgery or a defect.
    if (eventSubject(shortType(event.data)) !== this.message.subject) {
      throw new PoisonMessage('the type does not belong to the subject');
    }
    return {
      event: event.data,
      stream: this.stream,
      sequence: this.sequence,
      redeliveries: this.redeliveries,
      reject: (reason) => {
        this.rejected ??= reason;
      },
    };
  }

  ack(): void {
    this.settle(ack);
  }

  /** Gives it back, to be delivered again after `delayMs`. */
  nak(delayMs: number): void {
    this.settle(new TextEncoder().encode(`-NAK {"delay":${Math.round(delayMs) * 1_000_000}}`));
  }

  private settle(answer: Uint8Array): void {
    if (this.settled) return;
    this.settled = true;
    if (!this.deliverable()) return;
    try {
      this.message.respond(answer);
    } catch {
      // The connection is closed: the message comes again, here or elsewhere.
    }
  }
}

/** Longest wait before another delivery, in milliseconds: when the message may be at fault, and when something was merely away. */
const longestDelayMs = 60_000;
const longestDelayWhenAwayMs = 5_000;

/**
 * Wait before another delivery: 1 s doubled each time up to 60 s, of which a random half is cut off. Milliseconds.
 * @param away whether the handler lacked a dependency: when that is back, nothing should wait for long.
 */
export function redeliveryDelayMs(
  redeliveries: number,
  away = false,
  random: () => number = Math.random,
): number {
  const full = Math.min(
    away ? longestDelayWhenAwayMs : longestDelayMs,
    1_000 * 2 ** Math.min(redeliveries, 6),
  );
  return Math.max(1_000, full * (1 - random() / 2));
}
