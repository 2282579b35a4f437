/** The one connection that a service has to the bus, and whether it is up. */
import { readFileSync } from 'node:fs';
import type { ServiceName } from '@mayfly/contracts';
import { connect, nkeyAuthenticator } from '@nats-io/transport-node';
import type { NatsConnection } from '@nats-io/transport-node';

/** What this library logs to; pino's loggers fit. */
export interface BusLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface BusSettings {
  /** `nats://host:port` or `tls://host:port`, one or several of a cluster. */
  servers: string | string[];
  /** Also the NATS user: it decides the inbox prefix, which the server's permissions are bound to. */
  service: ServiceName | 'setup';
  /** File with the user's nkey seed (`SU…`). Without it the server has to admit anyone: tests only. */
  seedFile?: string;
  /** PEM file of the certificate authority that the server's certificate must come from. */
  caFile?: string;
}

/** First wait before another attempt to connect, in milliseconds; the jitter is added to it. */
const reconnectWaitMs = 250;

/**
 * Connects, waiting for a server that is not up yet, and reconnects for ever. A server that refuses the key twice in a row
 * is a wrong set-up: then it rejects (or, later, the connection's `closed()` resolves with the error).
 */
export async function connectBus(settings: BusSettings): Promise<NatsConnection> {
  const connection = await connect({
    servers: settings.servers,
    name: `mayfly-${settings.service}`,
    inboxPrefix: `_INBOX_${settings.service}`,
    maxReconnectAttempts: -1,
    waitOnFirstConnect: true,
    reconnectTimeWait: reconnectWaitMs,
    reconnectJitter: reconnectWaitMs,
    reconnectJitterTLS: 2 * reconnectWaitMs,
    timeout: 5_000,
    // A server that hangs without closing its socket is noticed within 3 × 5 s.
    pingInterval: 5_000,
    maxPingOut: 2,
    // The stack of every request costs more than the request.
    noAsyncTraces: true,
    ...(settings.seedFile === undefined
      ? {}
      : { authenticator: nkeyAuthenticator(readSeed(settings.seedFile)) }),
    ...(settings.caFile === undefined ? {} : { tls: { caFile: settings.caFile } }),
  });
  watch(connection);
  return connection;
}

function readSeed(file: string): Uint8Array {
  return new TextEncoder().encode(readFileSync(file, 'utf8').trim());
}

/** What is known of a connection, from its own reports. */
interface ConnectionState {
  connected: boolean;
  /** How often the connection was lost so far. */
  losses: number;
  readonly onDisconnect: Set<() => void>;
  readonly onReconnect: Set<() => void>;
}

const states = new WeakMap<NatsConnection, ConnectionState>();

/** Starts following a connection's status, once. */
export function watch(connection: NatsConnection): ConnectionState {
  const known = states.get(connection);
  if (known) return known;
  const state: ConnectionState = {
    connected: true,
    losses: 0,
    onDisconnect: new Set(),
    onReconnect: new Set(),
  };
  states.set(connection, state);
  void follow(connection, state);
  return state;
}

async function follow(connection: NatsConnection, state: ConnectionState): Promise<void> {
  for await (const status of connection.status()) {
    if (status.type === 'reconnect') {
      state.connected = true;
      for (const notify of [...state.onReconnect]) notify();
    } else if (status.type === 'disconnect' || status.type === 'close') {
      lost(state);
    }
  }
  lost(state);
}

function lost(state: ConnectionState): void {
  state.connected = false;
  state.losses++;
  for (const notify of [...state.onDisconnect]) notify();
}

/** Whether the connection is up at this moment; part of readiness. */
export function isConnected(connection: NatsConnection): boolean {
  return !connection.isClosed() && watch(connection).connected;
}
