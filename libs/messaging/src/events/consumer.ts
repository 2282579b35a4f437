/**
 * Feeds durable consumers to `@Consumes` handlers: a transport of Nest's for what its NATS transport lacks, JetStream with
 * explicit acknowledgement. At least once, in batches, for ever: a message leaves only when its handler has taken it or it
 * lies in `MAYFLY_DEAD`.
 */
import type { ServiceName } from '@mayfly/contracts';
import { Server } from '@nestjs/microservices';
import type { CustomTransportStrategy, MessageHandler } from '@nestjs/microservices';
import type { NatsConnection } from '@nats-io/transport-node';
import type { BusLogger } from '../connection.ts';
import { consumers } from '../topology.ts';
import type { ConsumerName, StreamName } from '../topology.ts';
import type { WorkScope } from '../work-scope.ts';
import { jetStreamTransport } from './consumes.ts';
import type { ConsumesExtras } from './consumes.ts';
import { ConsumerLoop } from './consumer-loop.ts';

export interface JetStreamServerOptions {
  /** Shared with whatever else the service does on the bus; the server never closes it. */
  connection: NatsConnection;
  service: ServiceName;
  logger: BusLogger;
  /** Told what each event is about, for the log lines of its work. */
  scope?: WorkScope;
  onDeadLetter?: (consumer: ConsumerName, reason: string) => void;
  /**
   * Signals that the full stream dropped before they came here. With several replicas each may tell the same gap; redeliveries
   * in between make it look smaller, never larger.
   */
  onGap?: (consumer: ConsumerName, count: number) => void;
}

export class JetStreamServer extends Server implements CustomTransportStrategy {
  override readonly transportId = jetStreamTransport;
  /** Errors come to the loop, which answers them with a redelivery. */
  override readonly propagatesEventHandlerErrors = true;
  private readonly loops: ConsumerLoop[] = [];

  constructor(private readonly options: JetStreamServerOptions) {
    super();
  }

  /** Starts all consumers. One that does not exist yet keeps the service from being ready, not from starting. */
  listen(callback: (error?: unknown) => void): void {
    try {
      for (const [pattern, handler] of this.messageHandlers) this.loops.push(this.loopFor(pattern, handler));
    } catch (error) {
      callback(error);
      return;
    }
    for (const loop of this.loops) void loop.run();
    callback();
  }

  /** Whether every consumer exists and is being pulled; part of readiness. */
  isReady(): boolean {
    return this.loops.every((loop) => loop.isReady());
  }

  /**
   * How many messages of each consumer nobody has acknowledged yet, as the server says: a handler that hangs is told as well.
   * Throws `dependency_unavailable`.
   */
  lag(): Promise<{ stream: StreamName; consumer: ConsumerName; messages: number }[]> {
    return Promise.all(
      this.loops.map(async (loop) => ({
        stream: loop.definition.stream,
        consumer: loop.name,
        messages: await loop.lag(),
      })),
    );
  }

  /** Stops pulling and waits, up to 10 s each, for the batches in hand. The connection stays open. */
  async close(): Promise<void> {
    await Promise.all(this.loops.splice(0).map((loop) => loop.close()));
  }

  override on(): never {
    throw new Error('JetStreamServer has no events: follow the connection');
  }

  override unwrap<T>(): T {
    return this.options.connection as T;
  }

  private loopFor(pattern: string, handler: MessageHandler): ConsumerLoop {
    const { consumer } = (handler.extras ?? {}) as ConsumesExtras;
    if (consumer === undefined || consumer !== pattern || handler.next !== undefined) {
      throw new Error(`the handler of ${pattern} must be the only one with @Consumes('${pattern}')`);
    }
    if (consumers[consumer].service !== this.options.service) {
      throw new Error(
        `${consumer} belongs to ${consumers[consumer].service}, not to ${this.options.service}`,
      );
    }
    return new ConsumerLoop(consumer, handler, this.options);
  }
}
