/**
 * The configuration of nats-server: one nkey user per service with just its subjects, JetStream in a folder. The
 * same text serves the development stack and the compose file (there with TLS). Works with nats-server 2.9.10.
 */

/** What one NATS user may do; `natsPermissions()` of @mayfly/messaging gives these. */
export interface NatsUserPermissions {
  readonly publish: readonly string[];
  /** An entry `subject queue` allows the subject only in that queue group. */
  readonly subscribe: readonly string[];
  /** May answer requests that it received, on whatever subject they name, once and for a while. */
  readonly allowResponses: boolean;
}

/** What goes into the configuration. */
export interface NatsServerConfigOptions {
  /** Address to listen on; default 127.0.0.1. */
  readonly host?: string;
  readonly port: number;
  /** JetStream's folder. */
  readonly storeDirectory: string;
  /** Without users everybody may do everything: for tests of things other than permissions. */
  readonly users?: Readonly<
    Record<string, { readonly nkey: string; readonly permissions: NatsUserPermissions }>
  >;
  /** Files as the server sees them. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string; readonly caFile: string };
  /** Serves /healthz and /varz there, unauthenticated, on the same address. */
  readonly monitorPort?: number;
}

/** Largest message, in bytes: the cap on what a service may put on the bus. */
export const NATS_MAX_PAYLOAD = 1024 * 1024;

/** Room for all streams together; nothing is reserved on disk before it is used. */
const JETSTREAM_FILE_STORE = '8GB';

/** How long a service may take to answer; longer than the longest wait on the bus (30 s and its deadline's slack). */
const RESPONSE_WINDOW = '90s';

/** Renders the configuration text. */
export function natsServerConfig(options: NatsServerConfigOptions): string {
  const { host = '127.0.0.1', port, storeDirectory, users, tls, monitorPort } = options;
  return [
    '# Made by Mayfly; changes are overwritten.',
    `listen: ${quote(`${host}:${String(port)}`)}`,
    'server_name: "mayfly"',
    ...(monitorPort === undefined ? [] : [`http: ${quote(`${host}:${String(monitorPort)}`)}`]),
    `max_payload: ${String(NATS_MAX_PAYLOAD)}`,
    // Said outright: the default depends on the free disk space, and too little would refuse the streams.
    `jetstream { store_dir: ${quote(storeDirectory)}, max_file_store: ${JETSTREAM_FILE_STORE}, max_memory_store: 64MB }`,
    ...(tls === undefined ? [] : [tlsBlock(tls)]),
    ...(users === undefined ? [] : [authorizationBlock(users)]),
    '',
  ].join('\n');
}

/** Pairs each service's permissions with its public nkey. @throws Error when a service has no key */
export function natsUsers(
  permissions: Readonly<Record<string, NatsUserPermissions>>,
  publicNkeys: Readonly<Record<string, string>>,
): Record<string, { nkey: string; permissions: NatsUserPermissions }> {
  return Object.fromEntries(
    Object.entries(permissions).map(([name, allowed]) => {
      const nkey = publicNkeys[name];
      if (nkey === undefined) throw new Error(`There is no NATS key for ${name}.`);
      return [name, { nkey, permissions: allowed }];
    }),
  );
}

function tlsBlock(tls: { certFile: string; keyFile: string; caFile: string }): string {
  return `tls { cert_file: ${quote(tls.certFile)}, key_file: ${quote(tls.keyFile)}, ca_file: ${quote(tls.caFile)} }`;
}

function authorizationBlock(users: NonNullable<NatsServerConfigOptions['users']>): string {
  const entries = Object.entries(users).map(([name, { nkey, permissions }]) =>
    [
      `    # ${name}`,
      `    { nkey: ${quote(nkey)}, permissions: {`,
      `      publish: ${subjects(permissions.publish)}`,
      `      subscribe: ${subjects(permissions.subscribe)}`,
      ...(permissions.allowResponses ? [`      allow_responses: { max: 1, ttl: "${RESPONSE_WINDOW}" }`] : []),
      '    } }',
    ].join('\n'),
  );
  return ['authorization {', '  users: [', ...entries, '  ]', '}'].join('\n');
}

/** nats-server reads an empty allow list as "everything"; nothing allowed must be said as everything denied. */
function subjects(allowed: readonly string[]): string {
  return allowed.length === 0 ? '{ deny: [">"] }' : `{ allow: [${allowed.map(quote).join(', ')}] }`;
}

/** @throws Error for a character that would end the string */
function quote(text: string): string {
  if (/["\\\u0000-\u001f]/u.test(text))
    throw new Error(`${JSON.stringify(text)} can't be part of a NATS configuration.`);
  return `"${text}"`;
}
