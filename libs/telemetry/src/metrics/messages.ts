/** Metrics of the bus, its streams and the outbox. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { collecting, type Collect } from './leases.ts';

/** `mayfly_stream_lag_messages{stream,consumer}`: messages a durable consumer has yet to acknowledge. */
export function streamLag(
  registry: Registry,
  collect?: Collect<'stream' | 'consumer'>,
): Gauge<'stream' | 'consumer'> {
  return new Gauge({
    name: 'mayfly_stream_lag_messages',
    help: 'Messages that a consumer has not acknowledged yet',
    labelNames: ['stream', 'consumer'],
    registers: [registry],
    ...collecting(collect),
  });
}

/** `mayfly_dead_letters_total{consumer}`: messages stored in `MAYFLY_DEAD` because they can't be processed. */
export function deadLetters(registry: Registry): Counter<'consumer'> {
  return new Counter({
    name: 'mayfly_dead_letters_total',
    help: 'Messages stored as dead letters',
    labelNames: ['consumer'],
    registers: [registry],
  });
}

/** `mayfly_signals_lost_total`: signals that the full signal stream discarded, or that could not be published. */
export function signalsLost(registry: Registry): Counter {
  return new Counter({
    name: 'mayfly_signals_lost_total',
    help: 'Signals that were discarded or could not be published',
    registers: [registry],
  });
}

/** `mayfly_outbox_pending`: events committed by this service that are not published yet. */
export function outboxPending(registry: Registry, collect?: Collect<string>): Gauge {
  return new Gauge({
    name: 'mayfly_outbox_pending',
    help: 'Events in the outbox that are not published yet',
    registers: [registry],
    ...collecting(collect),
  });
}

/**
 * `mayfly_rpc_duration_seconds{operation,code}`: time a service took to answer a request of the bus, in seconds.
 * `operation` is an operation of the contracts; `code` is `ok` or a code of the error table.
 */
export function rpcDuration(registry: Registry): Histogram<'operation' | 'code'> {
  return new Histogram({
    name: 'mayfly_rpc_duration_seconds',
    help: 'Time to answer a request of the bus',
    labelNames: ['operation', 'code'],
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 25],
    registers: [registry],
  });
}

/** `mayfly_topology_problems{object,kind}`: 1 for each stream and consumer that is missing, ahead of its stream, or not as declared. */
export function topologyProblems(registry: Registry): Gauge<'object' | 'kind'> {
  return new Gauge({
    name: 'mayfly_topology_problems',
    help: 'Streams and consumers that are not as declared',
    labelNames: ['object', 'kind'],
    registers: [registry],
  });
}
