/**
 * Pulls a durable consumer's messages into a small buffer: one long-lived pull request at a time, renewed when it ends, so
 * that an idle consumer gets a message within milliseconds and a busy one never holds more than two batches.
 *
 * The client library's `consume()` is not used: it refills as messages arrive, however slow the handler is, up to
 * `max_ack_pending`, and asks the server about the consumer at every turn.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createInbox, nanos } from '@nats-io/transport-node';
import type { Msg, NatsConnection, Subscription } from '@nats-io/transport-node';
import { watch } from '../connection.ts';
import { HeldMessage } from './delivery.ts';

/** A pull request's life and the server's sign of life during it, in milliseconds. */
const expiresMs = 30_000;
const heartbeatMs = 5_000;
/** Wait after the server ended a request for a reason of its own. */
const retryMs = 250;
/** How long `close` waits for what is on its way. */
const drainMs = 2_000;
/** For so long after a pull that was cut off each pull asks for one message. */
const carefulMs = 60 * 60_000;

export interface PullOptions {
  connection: NatsConnection;
  service: string;
  stream: string;
  durable: string;
  batch: number;
  /** The consumer does not answer: it may not exist. Pulling has stopped until `start`. */
  onMissing: () => void;
  /** An empty message has cut off a pull; see `cutOff`. */
  onCutOff?: () => void;
}

export class Pull {
  private inbox = '';
  private subscription: Subscription;
  private readonly buffer: HeldMessage[] = [];
  private active = false;
  private closed = false;
  /** The outstanding pull request: its number, how many messages it still brings, when it last showed life. */
  private request: { id: number; remaining: number; seenAt: number } | undefined;
  private requests = 0;
  /** On the clock of `performance.now`. */
  private carefulUntil = -Infinity;
  private wake: (() => void) | undefined;
  private readonly watchdog: NodeJS.Timeout;
  private retryTimer: NodeJS.Timeout | undefined;
  private readonly onDisconnect = () => (this.request = undefined);
  private readonly onReconnect = () => this.refill();

  constructor(private readonly options: PullOptions) {
    this.subscription = this.listen();
    // Two missed heartbeats: the request is lost (a server restart, a leader that moved).
    this.watchdog = setInterval(() => {
      if (this.request && performance.now() - this.request.seenAt > 2.5 * heartbeatMs) {
        this.request = undefined;
        this.refill();
      }
    }, heartbeatMs);
    this.watchdog.unref();
    const state = watch(options.connection);
    state.onDisconnect.add(this.onDisconnect);
    state.onReconnect.add(this.onReconnect);
  }

  start(): void {
    this.active = true;
    this.refill();
  }

  /** Everything that has arrived, at most a batch, in order; waits for the first. Empty only when closed. */
  async take(): Promise<HeldMessage[]> {
    while (this.buffer.length === 0 && !this.closed) {
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
    if (this.closed) return [];
    const taken = this.buffer.splice(0, this.options.batch);
    this.refill();
    return taken;
  }

  /** How many have arrived and were not taken yet. */
  get waiting(): number {
    return this.buffer.length;
  }

  /** Stops; gives back what was not taken, and what the server had already sent. */
  async close(): Promise<void> {
    this.active = false;
    this.closed = true;
    this.wake?.();
    clearInterval(this.watchdog);
    clearTimeout(this.retryTimer);
    const state = watch(this.options.connection);
    state.onDisconnect.delete(this.onDisconnect);
    state.onReconnect.delete(this.onReconnect);
    // Draining waits for the server's word that nothing more is on its way; that never comes over a lost connection.
    if (watch(this.options.connection).connected) {
      const drained = this.subscription.drain().catch(() => undefined);
      await Promise.race([drained, sleep(drainMs, undefined, { ref: false })]);
    }
    this.subscription.unsubscribe();
    for (const message of this.buffer.splice(0)) message.nak(0);
  }

  private listen(): Subscription {
    this.inbox = createInbox(`_INBOX_${this.options.service}`);
    return this.options.connection.subscribe(`${this.inbox}.*`, {
      callback: (error, message) => {
        if (error) this.missing();
        else this.receive(message);
      },
    });
  }

  private receive(message: Msg): void {
    if (message.subject.startsWith(`_INBOX_${this.options.service}.`)) {
      this.status(message);
      return;
    }
    const state = watch(this.options.connection);
    const { losses } = state;
    this.buffer.push(new HeldMessage(message, () => state.losses === losses));
    this.wake?.();
    this.wake = undefined;
    if (message.data.length === 0 && message.headers === undefined) {
      this.cutOff();
      return;
    }
    if (!this.request) return;
    this.request.seenAt = performance.now();
    if (--this.request.remaining <= 0) {
      this.request = undefined;
      this.refill();
    }
  }

  /**
   * To nats-server an empty message without headers ends the answers to a request from another account: what else it sends for this
   * pull is lost until its acknowledgement is overdue. Mayfly publishes no such message, but a captured publisher may, again and again.
   * So nobody listens to this pull any more, which makes the server forget it, and those of the next hour ask for one message each:
   * then there is nothing behind an empty one that could be lost.
   */
  private cutOff(): void {
    this.request = undefined;
    this.carefulUntil = performance.now() + carefulMs;
    // Without accounts the rest of the pull may still be on its way.
    void this.subscription.drain().catch(() => undefined);
    this.subscription = this.listen();
    this.options.onCutOff?.();
    this.refill();
  }

  /** Status messages come on the request's own subject (ADR-13 of NATS: 100 heartbeat, 404/408 over, 409 ended, 503 nobody). */
  private status(message: Msg): void {
    if (!this.request || message.subject !== `${this.inbox}.${this.request.id}`) return;
    const code = message.headers?.code ?? 0;
    if (code === 100) {
      this.request.seenAt = performance.now();
      return;
    }
    this.request = undefined;
    if (code === 408 || code === 404) this.refill();
    else if (code === 503 || /deleted/i.test(message.headers?.description ?? '')) this.missing();
    else this.retryLater();
  }

  private refill(): void {
    const { connection, stream, durable, batch } = this.options;
    if (!this.active || this.request || this.buffer.length > batch / 2) return;
    if (connection.isClosed() || !watch(connection).connected) return;
    const id = ++this.requests;
    const wanted = performance.now() < this.carefulUntil ? 1 : batch - this.buffer.length;
    this.request = { id, remaining: wanted, seenAt: performance.now() };
    connection.publish(
      `$JS.API.CONSUMER.MSG.NEXT.${stream}.${durable}`,
      JSON.stringify({ batch: wanted, expires: nanos(expiresMs), idle_heartbeat: nanos(heartbeatMs) }),
      { reply: `${this.inbox}.${id}` },
    );
  }

  private retryLater(): void {
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => this.refill(), retryMs);
    this.retryTimer.unref();
  }

  private missing(): void {
    if (!this.active) return;
    this.active = false;
    this.request = undefined;
    this.options.onMissing();
  }
}
