/** The bus of Mayfly: nats-server with an account per service, and the streams and consumers before any service starts. */
import { readFileSync } from 'node:fs';
import { declareTopology, type TopologyOptions } from '@mayfly/messaging';
import { connect, nkeyAuthenticator } from '@nats-io/transport-node';
import type { GeneratedKeys } from '../keys/generate-keys.ts';
import { startNats, useNats, type NatsServer, type OwnNats } from '../nats/start-nats.ts';

/** Which bus to use. */
export interface BusOptions {
  readonly dataDirectory: string;
  /** An existing one instead of our own. */
  readonly natsUrl?: string | undefined;
  readonly natsCaFile?: string | undefined;
}

/** Starts nats-server, or takes the one that was named. */
export function openBus(options: BusOptions, keys: GeneratedKeys): Promise<NatsServer | OwnNats> {
  if (options.natsUrl !== undefined) return Promise.resolve(useNats(options.natsUrl));
  return startNats({ dataDirectory: options.dataDirectory, nkeys: keys.natsUsers });
}

/** Declares streams and consumers, as the user `setup`; what is there already is changed to what is wanted now. Returns what was made or changed, one sentence each. @throws Error when the bus can't be reached or refuses us */
export async function prepareBus(
  url: string,
  natsCaFile: string | undefined,
  keys: Pick<GeneratedKeys, 'natsSeedFile'>,
  topology: TopologyOptions = {},
): Promise<string[]> {
  const seed = new TextEncoder().encode(readFileSync(keys.natsSeedFile('setup'), 'utf8').trim());
  const connection = await connect({
    servers: url.split(','),
    name: 'mayfly-setup',
    inboxPrefix: '_INBOX_setup',
    authenticator: nkeyAuthenticator(seed),
    // The server is up, or the URL is wrong: no reason to try again and again.
    reconnect: false,
    timeout: 5_000,
    ...(natsCaFile === undefined ? {} : { tls: { caFile: natsCaFile } }),
  }).catch((error: unknown) => {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`The NATS server at ${url} could not be used: ${why}.`, { cause: error });
  });
  try {
    return await declareTopology(connection, topology);
  } finally {
    await connection.close();
  }
}
