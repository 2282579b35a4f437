/** One consumer's endless loop: take a batch, hand it over, settle every message of it. A backlog may be worked on in several batches. */
import { setImmediate as immediate, setTimeout as sleep } from 'node:timers/promises';
import { MayflyError } from '@mayfly/contracts';
import { context } from '@opentelemetry/api';
import type { MessageHandler } from '@nestjs/microservices';
import { NatsContext } from '@nestjs/microservices';
import { firstValueFrom, isObservable } from 'rxjs';
import { request } from '../request.ts';
import { parseJson } from '../rpc/wire.ts';
import { consumers } from '../topology.ts';
import type { ConsumerDefinition, ConsumerName } from '../topology.ts';
import type { JetStreamServerOptions } from './consumer.ts';
import { extractTrace } from '../tracing.ts';
import { untold, type WorkScope } from '../work-scope.ts';
import { traceBatch } from './batch-spans.ts';
import { storeDeadLetter } from './dead-letter.ts';
import { HeldMessage, PoisonMessage, redeliveryDelayMs } from './delivery.ts';
import type { Delivery } from './delivery.ts';
import { Pull } from './pull.ts';

/** When so many messages in a row fail alone, it is not the messages: the rest of the batch waits. */
const failuresInARow = 5;
const closeGraceMs = 10_000;
/** So many messages waiting are a batch of their own. */
const backlogWithoutPause = 100;
/** So many messages are read without a pause for whatever else waits. */
const openedAtOnce = 50;

/** What we read of JetStream's answer about a consumer. */
interface ConsumerInfo {
  error?: unknown;
  delivered?: { stream_seq: number; consumer_seq: number };
  num_pending?: number;
  num_ack_pending?: number;
}

interface Opened {
  held: HeldMessage;
  delivery: Delivery;
}

export class ConsumerLoop {
  readonly definition: ConsumerDefinition;
  private readonly pull: Pull;
  private readonly scope: WorkScope;
  private readonly closing = new AbortController();
  private readonly inHand = new Set<HeldMessage>();
  private ready = false;
  private running: Promise<void> | undefined;
  /** Stream sequence minus consumer sequence of the last first delivery: it grows by what the stream dropped. */
  private offset: number | undefined;
  private failedBatches = 0;

  constructor(
    readonly name: ConsumerName,
    private readonly handler: MessageHandler,
    private readonly options: JetStreamServerOptions,
  ) {
    this.definition = consumers[name];
    this.scope = options.scope ?? untold;
    this.pull = new Pull({
      connection: options.connection,
      service: options.service,
      stream: this.definition.stream,
      durable: name,
      batch: this.definition.batch,
      onMissing: () => void this.bind(),
      onCutOff: () =>
        options.logger.error(
          { consumer: name },
          'an empty message came, which Mayfly never publishes: find out which service does; until an hour after it this consumer is slow',
        ),
    });
  }

  isReady(): boolean {
    return this.ready;
  }

  /** Messages that nobody has acknowledged yet, those in hand too. Throws `dependency_unavailable`. */
  async lag(): Promise<number> {
    const info = await this.info();
    return (info.num_pending ?? 0) + (info.num_ack_pending ?? 0);
  }

  run(): Promise<void> {
    this.running ??= this.loop();
    return this.running;
  }

  async close(): Promise<void> {
    this.closing.abort();
    await this.pull.close();
    await Promise.race([this.running, sleep(closeGraceMs, undefined, { ref: false })]);
    for (const held of this.inHand) held.nak(0);
  }

  private async loop(): Promise<void> {
    void this.bind();
    const running = new Set<Promise<void>>();
    while (!this.closing.signal.aborted) {
      const batch = await this.pull.take();
      if (batch.length === 0) continue;
      this.watchForGap(batch);
      const work = this.work(batch).finally(() => running.delete(work));
      running.add(work);
      // What waited before this batch was taken in hand: the server tells it with every message.
      const backlog = Math.max(batch.at(-1)?.pending ?? 0, this.pull.waiting);
      if (backlog < backlogWithoutPause || this.failedBatches > 0) await Promise.all(running);
      else if (running.size >= (this.definition.parallelBatches ?? 1)) await Promise.race(running);
      // A lone message is handled at once; what comes right after it is gathered, because a batch costs as much as one. A
      // backlog is worked off at full speed.
      const { gatherMs } = this.definition;
      if (gatherMs !== undefined && backlog < backlogWithoutPause) await this.pause(gatherMs);
      if (this.failedBatches > 0)
        await this.pause(Math.min(5_000, 100 * 2 ** Math.min(this.failedBatches, 6)));
    }
    await Promise.all(running);
  }

  /** Never rejects. */
  private async work(batch: readonly HeldMessage[]): Promise<void> {
    for (const held of batch) this.inHand.add(held);
    try {
      await this.process(batch);
    } catch (error) {
      // Not the handler's: those are dealt with. Whatever is unsettled comes again.
      this.options.logger.error({ err: error, consumer: this.name }, 'batch failed unexpectedly');
      this.giveBack(batch);
    } finally {
      for (const held of batch) this.inHand.delete(held);
    }
  }

  /** Waits until the consumer exists, then pulls from it. */
  private async bind(): Promise<void> {
    this.ready = false;
    for (let attempt = 0; !this.closing.signal.aborted; attempt++) {
      try {
        const info = await this.info();
        if (info.error === undefined && info.delivered) {
          this.offset ??= info.delivered.stream_seq - info.delivered.consumer_seq;
          this.ready = true;
          this.pull.start();
          return;
        }
        if (attempt % 10 === 0)
          this.options.logger.warn({ consumer: this.name }, 'consumer does not exist yet');
      } catch (error) {
        if (attempt % 10 === 0) {
          this.options.logger.warn({ err: error, consumer: this.name }, 'consumer cannot be reached');
        }
      }
      await this.pause(Math.min(5_000, 100 * 2 ** Math.min(attempt, 6)));
    }
  }

  private async info(): Promise<ConsumerInfo> {
    const subject = `$JS.API.CONSUMER.INFO.${this.definition.stream}.${this.name}`;
    const reply = await request(this.options.connection, subject, '', {
      what: 'the event log',
      timeoutMs: 2_000,
    });
    return parseJson(reply.data) as ConsumerInfo;
  }

  private async process(batch: readonly HeldMessage[]): Promise<void> {
    const opened: Opened[] = [];
    for (const [index, held] of batch.entries()) {
      // Another batch in hand goes on in between.
      if (index % openedAtOnce === openedAtOnce - 1) await immediate();
      try {
        opened.push({ held, delivery: held.open() });
      } catch (error) {
        const reason = error instanceof PoisonMessage ? error.reason : 'cannot be read';
        await this.inItsTrace(held, {}, () => this.bury(held, reason));
      }
    }
    if (opened.length === 0) return;
    const [only] = opened;
    if (opened.length === 1 && only !== undefined) return this.alone(only);
    const error = await this.attempt(opened);
    if (error === undefined) {
      this.failedBatches = 0;
      for (const one of opened)
        await this.inItsTrace(one.held, one.delivery.event.data, () => this.settle(one.held));
    } else {
      await this.oneByOne(opened, error);
    }
  }

  private async alone(one: Opened): Promise<void> {
    const isSettled = await this.tryAlone(one);
    this.failedBatches = isSettled ? 0 : this.failedBatches + 1;
  }

  /** Hands one message over and settles it. Whether it is dealt with; if not, it comes again. */
  private tryAlone(one: Opened): Promise<boolean> {
    const { held, delivery } = one;
    const work = async () => {
      const error = await this.attempt([one]);
      if (error !== undefined) return this.settleFailed(one, error);
      await this.settle(held);
      return true;
    };
    return this.inItsTrace(held, delivery.event.data, work);
  }

  /** So that what is logged of a message is found by the trace and the lease of its event. */
  private inItsTrace<T>(held: HeldMessage, known: object, work: () => T): T {
    return context.with(extractTrace(held.message.headers), () => this.scope.about(known, work));
  }

  /** After a failed batch: each message alone, so that a bad one holds up no other. */
  private async oneByOne(opened: Opened[], batchError: unknown): Promise<void> {
    this.options.logger.warn(
      { err: batchError, consumer: this.name, messages: opened.length },
      'batch failed; trying its messages one by one',
    );
    let failures = 0;
    for (const [index, one] of opened.entries()) {
      if (failures >= failuresInARow || this.closing.signal.aborted) {
        this.giveBack(
          opened.slice(index).map(({ held }) => held),
          isAway(batchError),
        );
        this.failedBatches++;
        return;
      }
      failures = (await this.tryAlone(one)) ? 0 : failures + 1;
    }
    this.failedBatches = 0;
  }

  /** Hands a batch to the handler. Resolves to what it threw. */
  private attempt(opened: Opened[]): Promise<unknown> {
    for (const { held } of opened) held.rejected = undefined;
    const deliveries = opened.map(({ delivery }) => delivery);
    return traceBatch(this.name, this.definition.stream, opened, async () => {
      try {
        const result: unknown = await this.handler(deliveries, new NatsContext([this.name, undefined]));
        if (isObservable(result)) await firstValueFrom(result, { defaultValue: undefined });
        return undefined;
      } catch (error) {
        return error ?? new Error('handler threw nothing');
      }
    });
  }

  private async settle(held: HeldMessage): Promise<void> {
    if (held.rejected === undefined) held.ack();
    else await this.bury(held, held.rejected);
  }

  /** Settles the one message that its handler failed on. Whether it was the message's own fault. */
  private async settleFailed(one: Opened, error: unknown): Promise<boolean> {
    if (error instanceof PoisonMessage) {
      await this.bury(one.held, error.reason);
      return true;
    }
    this.options.logger.error(
      { err: error, consumer: this.name, event: one.delivery.event.id, redeliveries: one.held.redeliveries },
      'event could not be processed; it will be delivered again',
    );
    this.giveBack([one.held], isAway(error));
    return false;
  }

  /** Into `MAYFLY_DEAD`, then acknowledged; if it cannot be stored, it comes again. */
  private async bury(held: HeldMessage, reason: string): Promise<void> {
    const { connection, service, logger } = this.options;
    const { message, stream, sequence } = held;
    try {
      await storeDeadLetter(connection, service, {
        data: message.data,
        reason,
        messageId: `${stream}.${sequence}.${this.name}`,
        origin: {
          'Mayfly-Stream': stream,
          'Mayfly-Sequence': String(sequence),
          'Mayfly-Subject': message.subject,
          'Mayfly-Consumer': this.name,
        },
        headers: message.headers,
      });
    } catch (error) {
      logger.error({ err: error, consumer: this.name, sequence }, 'dead letter could not be stored');
      this.giveBack([held]);
      return;
    }
    held.ack();
    logger.error({ consumer: this.name, stream, sequence, reason }, 'message put into MAYFLY_DEAD');
    this.options.onDeadLetter?.(this.name, reason);
  }

  private giveBack(messages: readonly HeldMessage[], away = false): void {
    for (const held of messages) held.nak(redeliveryDelayMs(held.redeliveries, away));
  }

  private watchForGap(batch: readonly HeldMessage[]): void {
    if (this.definition.stream !== 'MAYFLY_SIGNALS') return;
    for (const held of batch) {
      if (held.redeliveries > 0) continue;
      const offset = held.sequence - held.consumerSequence;
      const lost = offset - (this.offset ?? offset);
      this.offset = offset;
      if (lost <= 0) continue;
      this.options.logger.warn({ consumer: this.name, lost }, 'signals were dropped by their full stream');
      this.options.onGap?.(this.name, lost);
    }
  }

  private async pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.closing.signal }).catch(() => undefined);
  }
}

/** Not the message's fault: what its handler needs can't be reached. */
function isAway(error: unknown): boolean {
  return error instanceof MayflyError && error.code === 'dependency_unavailable';
}
