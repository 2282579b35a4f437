/** Step `keys`: every key of Mayfly, the certificate of the bus, and a nats-server.conf with an account per service. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateKeys, generateTls, natsServerConfig } from '@mayfly/stack';
import { writePrivateFile, writePublicFile } from './files.ts';
import type { KeysStep } from './settings.ts';

/** Where the services find the certificate authority of the bus, below the keys folder. */
export const natsAuthorityFile = join('public', 'nats-ca.crt');

/** Makes what is missing; keys and certificates that are there stay. The configuration of nats-server is always written anew. */
export async function prepareKeys(settings: KeysStep, tell: (line: string) => void): Promise<void> {
  const keys = await generateKeys(settings.MAYFLY_KEYS);
  const tls = generateTls(join(settings.MAYFLY_NATS_FOLDER, 'tls'), settings.MAYFLY_NATS_NAMES.split(','));
  writePublicFile(join(settings.MAYFLY_KEYS, natsAuthorityFile), readFileSync(tls.caFile, 'utf8'));
  tell(
    `Keys are in ${settings.MAYFLY_KEYS}, the certificate of the bus is in ${settings.MAYFLY_NATS_FOLDER}/tls.`,
  );

  const configFile = join(settings.MAYFLY_NATS_FOLDER, 'nats-server.conf');
  writePrivateFile(configFile, natsConfiguration(settings, keys.natsUsers, tls));
  tell(`${configFile} has an account each for ${Object.keys(keys.natsUsers).join(', ')}.`);
}

function natsConfiguration(
  settings: KeysStep,
  nkeys: Readonly<Record<string, string>>,
  { certFile, keyFile }: ReturnType<typeof generateTls>,
): string {
  const config = natsServerConfig({
    host: '0.0.0.0',
    port: settings.MAYFLY_NATS_PORT,
    storeDirectory: settings.MAYFLY_NATS_STORE,
    nkeys,
  });
  return [
    config.trimEnd(),
    // TLS 1.2 at least, by the server's default: 2.9 knows no setting for it. Our clients speak 1.3.
    `tls { cert_file: "${certFile}", key_file: "${keyFile}" }`,
    // Monitoring has no authentication: on the loopback it serves the health check and nobody else.
    `http: "127.0.0.1:${settings.MAYFLY_NATS_MONITOR_PORT}"`,
    '',
  ].join('\n');
}
