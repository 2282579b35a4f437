/**
 * Starts a nats-server of each version to try for each user, configured like a deployment's (Jest globalSetup of the project "captured"). Jest loads this
 * file outside its sandbox, where @mayfly/stack is its build, so `npm run build` comes first, and a sabotage can change it.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { busAccounts, type BusUser } from '@mayfly/messaging';
import { findNatsServer, generateKeys, prepareBus, startNats, type OwnNats } from '@mayfly/stack';

/** One server under attack. */
export interface Server {
  /** `2.9.10` */
  readonly version: string;
  /** Who is captured there: what one leaves behind, such as pulls that wait, is no other's doing. */
  readonly user: BusUser;
  readonly url: string;
  /** Holds `<user>/nats.nk`. */
  readonly keysFolder: string;
}

/** Where the servers are kept for the teardown: both run in Jest's own process. */
export interface CapturedGlobals {
  mayflyCapturedServers?: readonly { readonly nats: OwnNats; readonly folder: string }[];
}

/** Tells their addresses in MAYFLY_CAPTURED_SERVERS. MAYFLY_NATS_SERVER_NEWER names a second program to try. */
export default async function setUp(): Promise<void> {
  const newer = process.env['MAYFLY_NATS_SERVER_NEWER'];
  const programs = [findNatsServer(), ...(newer === undefined || newer === '' ? [] : [newer])];
  const users = busAccounts().flatMap(({ user }) => (user === undefined ? [] : [user.name]));
  const started = await Promise.all(programs.flatMap((program) => users.map((user) => start(program, user))));
  (globalThis as CapturedGlobals).mayflyCapturedServers = started;
  process.env['MAYFLY_CAPTURED_SERVERS'] = JSON.stringify(started.map(({ server }) => server));
}

async function start(
  program: string,
  user: BusUser,
): Promise<{ nats: OwnNats; folder: string; server: Server }> {
  const [, version = 'unknown'] =
    / v?([\d.]+)/u.exec(execFileSync(program, ['--version'], { encoding: 'utf8' })) ?? [];
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-captured-'));
  const keys = await generateKeys(join(folder, 'keys'));
  const nats = await startNats({ program, dataDirectory: join(folder, 'nats'), nkeys: keys.natsUsers });
  await prepareBus(nats.url, undefined, keys);
  return { nats, folder, server: { version, user, url: nats.url, keysFolder: keys.folder } };
}
