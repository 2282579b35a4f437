/**
 * The configuration of nats-server: an account and an nkey user per service with just its subjects, JetStream in a folder. The
 * same text serves the development stack and the compose file (there with TLS). Works with nats-server 2.9.10.
 */
import { accountsConfig } from '@mayfly/messaging';

/** What goes into the configuration. */
export interface NatsServerConfigOptions {
  /** Address to listen on; default 127.0.0.1. */
  readonly host?: string;
  readonly port: number;
  /** JetStream's folder. */
  readonly storeDirectory: string;
  /** The public nkey of every user of the bus. Without them everybody may do everything: for tests of things other than permissions. */
  readonly nkeys?: Readonly<Record<string, string>>;
  /** Files as the server sees them. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string; readonly caFile: string };
  /** Serves /healthz and /varz there, unauthenticated, on the same address. */
  readonly monitorPort?: number;
}

/** Largest message, in bytes: the cap on what a service may put on the bus. */
export const NATS_MAX_PAYLOAD = 1024 * 1024;

/** Room for all streams together; nothing is reserved on disk before it is used. */
const JETSTREAM_FILE_STORE = '8GB';

/** Renders the configuration text. @throws Error when a user of the bus has no key */
export function natsServerConfig(options: NatsServerConfigOptions): string {
  const { host = '127.0.0.1', port, storeDirectory, nkeys, tls, monitorPort } = options;
  return [
    '# Made by Mayfly; changes are overwritten.',
    `listen: ${quote(`${host}:${String(port)}`)}`,
    'server_name: "mayfly"',
    ...(monitorPort === undefined ? [] : [`http: ${quote(`${host}:${String(monitorPort)}`)}`]),
    `max_payload: ${String(NATS_MAX_PAYLOAD)}`,
    // A replica that hangs, or whose machine is gone, gets no more requests after half a minute. By default it is six minutes.
    'ping_interval: "10s"',
    'ping_max: 2',
    // Said outright: the default depends on the free disk space, and too little would refuse the streams.
    `jetstream { store_dir: ${quote(storeDirectory)}, max_file_store: ${JETSTREAM_FILE_STORE}, max_memory_store: 64MB }`,
    ...(tls === undefined ? [] : [tlsBlock(tls)]),
    ...(nkeys === undefined ? [] : [accountsConfig(nkeys)]),
    '',
  ].join('\n');
}

function tlsBlock(tls: { certFile: string; keyFile: string; caFile: string }): string {
  return `tls { cert_file: ${quote(tls.certFile)}, key_file: ${quote(tls.keyFile)}, ca_file: ${quote(tls.caFile)} }`;
}

/** @throws Error for a character that would end the string */
function quote(text: string): string {
  if (/["\\\u0000-\u001f]/u.test(text))
    throw new Error(`${JSON.stringify(text)} can't be part of a NATS configuration.`);
  return `"${text}"`;
}
