/**
 * Makes every key that Mayfly needs, once: one key per purpose, each service's in its own folder, the public parts in
 * `public/`, where every service reads them (pinned by file, never fetched over the bus).
 */
import { createUser, fromSeed } from '@nats-io/nkeys';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { keyFiles } from '@mayfly/tokens';
import { readOrMakeSecretFile, replacePublicFile } from './key-files.ts';
import { keySetText, makeKey, parseKeySet, publicKeySet, type KeyKind } from './json-web-keys.ts';

/** One key file, and the file of its public part, if it has one. */
interface KeyFile {
  readonly path: string;
  readonly kind: KeyKind;
  readonly publicPath?: string;
}

function allKeyFiles(rootFolder: string): KeyFile[] {
  const { policy, minting, audit, public: published } = keyFiles(rootFolder);
  return [
    { path: policy.sessionToken, kind: 'ed25519', publicPath: published.sessionToken },
    { path: policy.grant, kind: 'ed25519', publicPath: published.grant },
    { path: policy.assertion, kind: 'ed25519', publicPath: published.assertion },
    { path: policy.sealing, kind: 'x25519', publicPath: published.policySealing },
    { path: minting.toolToken, kind: 'ed25519', publicPath: published.toolToken },
    { path: minting.handle, kind: 'a256gcm' },
    { path: minting.sealing, kind: 'x25519', publicPath: published.mintingSealing },
    { path: audit.checkpoint, kind: 'ed25519', publicPath: published.checkpoint },
  ];
}

/** Who has a NATS user: the five services, and the one-time set-up of streams and consumers. */
export const NATS_USER_NAMES = ['gateway', 'policy', 'minting', 'revocation', 'audit', 'setup'] as const;

/** The name of a NATS user. */
export type NatsUserName = (typeof NATS_USER_NAMES)[number];

/** What other parts need of the keys. */
export interface GeneratedKeys {
  /** The keys folder, for MAYFLY_KEYS. */
  readonly folder: string;
  /** Public nkeys, for the configuration of nats-server. */
  readonly natsUsers: Readonly<Record<NatsUserName, string>>;
  readonly natsSeedFile: (user: NatsUserName) => string;
}

/**
 * Makes what is missing and keeps what is there, so it may run at every start and by several at a time. Public files
 * follow the private ones: a key that was added for rotation is published at the next run.
 * @throws Error when a file is there but is not what it should be
 */
export async function generateKeys(rootFolder: string): Promise<GeneratedKeys> {
  // Passable for all, as each folder below is closed by itself: a service may run as a user of its own.
  mkdirSync(rootFolder, { recursive: true, mode: 0o711 });
  await Promise.all(allKeyFiles(rootFolder).map(ensureKeyFile));
  const natsUsers = Object.fromEntries(
    await Promise.all(NATS_USER_NAMES.map(async (name) => [name, await natsUser(rootFolder, name)] as const)),
  ) as Record<NatsUserName, string>;
  publish(join(rootFolder, 'public', 'nats-users.json'), `${JSON.stringify(natsUsers, null, 2)}\n`);
  return { folder: rootFolder, natsUsers, natsSeedFile: (user) => seedFile(rootFolder, user) };
}

async function ensureKeyFile({ path, kind, publicPath }: KeyFile): Promise<void> {
  const text = await readOrMakeSecretFile(path, async () => keySetText({ keys: [await makeKey(kind)] }));
  const set = parseKeySet(text, path);
  if (publicPath !== undefined) publish(publicPath, keySetText(publicKeySet(set)));
}

async function natsUser(rootFolder: string, name: NatsUserName): Promise<string> {
  const file = seedFile(rootFolder, name);
  const seed = await readOrMakeSecretFile(
    file,
    () => `${new TextDecoder().decode(createUser().getSeed())}\n`,
  );
  try {
    const publicKey = fromSeed(new TextEncoder().encode(seed.trim())).getPublicKey();
    if (publicKey.startsWith('U')) return publicKey;
  } catch {
    // Told below, without the library's words: they might quote the seed.
  }
  throw new Error(`${file} is not the seed of a NATS user.`);
}

function seedFile(rootFolder: string, name: NatsUserName): string {
  return join(rootFolder, name, 'nats.nk');
}

function publish(path: string, content: string): void {
  if (existsSync(path) && readFileSync(path, 'utf8') === content) return;
  replacePublicFile(path, content);
}
