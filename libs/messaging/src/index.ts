/**
 * How Mayfly's services talk: typed requests over NATS, events and signals over JetStream with explicit acknowledgement,
 * the outbox, and the one declaration of streams, consumers and permissions.
 */
export { type BusLogger, type BusSettings, connectBus, isConnected, watch } from './connection.ts';
export { remainingMs, withDeadline, withoutDeadline } from './deadline.ts';
export { BusClient, type BusClientOptions } from './rpc/client.ts';
export { Handles } from './rpc/handles.ts';
export { PeerBreaker } from './rpc/peer-breaker.ts';
export { type WorkScope } from './work-scope.ts';
export { RpcServer, type RpcServerOptions } from './rpc/server.ts';
export { newEvent } from './events/new-event.ts';
export { EventPublisher, type EventPublisherOptions, type PublishOptions } from './events/publisher.ts';
export { Consumes } from './events/consumes.ts';
export { type Delivery, PoisonMessage } from './events/delivery.ts';
export { JetStreamServer, type JetStreamServerOptions } from './events/consumer.ts';
export {
  type ConsumerDefinition,
  type ConsumerName,
  consumers,
  eventPublishers,
  type StreamDefinition,
  type StreamName,
  streams,
} from './topology.ts';
export { declareTopology } from './declare-topology.ts';
export { type TopologyProblem, topologyProblems, topologyReady } from './topology-check.ts';
export {
  topologyEnvironment,
  type TopologyOptions,
  topologyOptionsOf,
  topologySettings,
} from './topology-config.ts';
export { accountOf, type BusAccount, busAccounts, type BusUser, logAccount } from './accounts.ts';
export { accountsConfig } from './accounts-config.ts';
export { type NatsPermissions, natsPermissions } from './permissions.ts';
export { appendToOutbox, type OutboxClient, outboxTableSql } from './outbox/table.ts';
export { OutboxRelay, type OutboxRelayOptions } from './outbox/relay.ts';
