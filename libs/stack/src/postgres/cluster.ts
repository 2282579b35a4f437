/** One Postgres cluster on disk: made whole or not at all, and found again. */
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { ProcessFailed, startProcess } from '../processes/start-process.ts';
import type { PostgresPrograms } from './postgres-programs.ts';
import { redirectedFolder } from './redirected-folder.ts';
import { canReach, type SystemUser } from './system-user.ts';

/** A cluster that can be started. */
export interface Cluster {
  /** Postgres' data folder (PGDATA). */
  readonly folder: string;
  /** What was made for the cluster outside the data folder, or undefined. */
  readonly redirectedTo: string | undefined;
  readonly password: string;
}

/** The Postgres environment: no variable of ours changes what it does. */
export const POSTGRES_ENVIRONMENT = { LC_ALL: 'C', TZ: 'UTC', PATH: process.env['PATH'] ?? '/usr/bin:/bin' };

const STAGING_PREFIX = '.making-';

/**
 * Finds the cluster below `dataDirectory` or makes it: `superuser.password` (0600) and `cluster/`. A run that was
 * killed half-way leaves only a staging folder, which the next one removes.
 */
export async function openCluster(
  dataDirectory: string,
  programs: PostgresPrograms,
  user: SystemUser | undefined,
  log: (line: string) => void,
): Promise<Cluster> {
  mkdirSync(dataDirectory, { recursive: true, mode: 0o711 });
  const passwordFile = join(dataDirectory, 'superuser.password');
  const base = reachableBase(realpathSync(dataDirectory), user);
  const redirectedTo = base.redirected ? base.path : undefined;
  const folder = join(base.path, 'cluster');
  removeStaging(base.path);
  if (redirectedTo !== undefined) {
    // A cluster in /var/tmp belongs to a data folder; when that was removed and made anew, so is the cluster.
    if (!existsSync(passwordFile)) rmSync(folder, { recursive: true, force: true });
    log(`Postgres' user can't reach ${dataDirectory}: its files are in ${redirectedTo}.`);
  }
  putAsideWhatIsNoCluster(folder, log);
  if (existsSync(folder)) {
    checkVersion(folder, programs);
    return { folder, redirectedTo, password: readPassword(passwordFile, folder) };
  }
  const password = randomBytes(24).toString('base64url');
  writeFileSync(passwordFile, password, { mode: 0o600 });
  chmodSync(passwordFile, 0o600);
  await makeCluster(base.path, folder, password, programs, user);
  return { folder, redirectedTo, password };
}

function reachableBase(
  dataDirectory: string,
  user: SystemUser | undefined,
): { path: string; redirected: boolean } {
  if (user === undefined) return { path: dataDirectory, redirected: false };
  return canReach(user, dataDirectory)
    ? { path: dataDirectory, redirected: false }
    : { path: redirectedFolder(`postgres cluster ${dataDirectory}`), redirected: true };
}

async function makeCluster(
  base: string,
  folder: string,
  password: string,
  programs: PostgresPrograms,
  user: SystemUser | undefined,
): Promise<void> {
  const staging = mkdtempSync(join(base, STAGING_PREFIX));
  const made = join(staging, 'cluster');
  const passwordFile = join(staging, 'password');
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  if (user !== undefined) for (const path of [staging, passwordFile]) chownSync(path, user.uid, user.gid);
  try {
    const initdb = await startProcess({
      name: 'initdb',
      command: programs.initdb,
      args: [
        `--pgdata=${made}`,
        '--username=postgres',
        `--pwfile=${passwordFile}`,
        '--auth=scram-sha-256',
        '--encoding=UTF8',
        '--locale=C',
        ...newerOptions(programs),
        // The rename below makes it whole or absent; power loss during the first second of a new cluster is nothing.
        '--no-sync',
      ],
      env: POSTGRES_ENVIRONMENT,
      cwd: '/',
      user,
    });
    const { code, signal } = await initdb.exited;
    if (code !== 0)
      throw new ProcessFailed(
        `initdb ended with ${signal ?? `exit status ${String(code)}`}`,
        initdb.lastLines(),
      );
    renameSync(made, folder);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

/** What older programs don't know: instructions to leave out, and a locale that knows the case of more than ASCII letters. */
function newerOptions({ major = 0 }: PostgresPrograms): string[] {
  return [
    ...(major >= 14 ? ['--no-instructions'] : []),
    ...(major >= 17 ? ['--locale-provider=builtin', '--builtin-locale=C.UTF-8'] : []),
  ];
}

function removeStaging(base: string): void {
  for (const name of readdirSync(base))
    if (name.startsWith(STAGING_PREFIX)) rmSync(join(base, name), { recursive: true, force: true });
}

/** Something without PG_VERSION can't be started; it is kept, out of the way, as it may be somebody's. */
function putAsideWhatIsNoCluster(folder: string, log: (line: string) => void): void {
  if (!existsSync(folder) || existsSync(join(folder, 'PG_VERSION'))) return;
  if (readdirSync(folder).length === 0) {
    rmdirSync(folder);
    return;
  }
  const aside = `${folder}.broken-${String(Date.now())}`;
  renameSync(folder, aside);
  log(`${folder} was not a whole Postgres cluster: put aside as ${aside}, a new one is made.`);
}

function checkVersion(folder: string, programs: PostgresPrograms): void {
  const found = readFileSync(join(folder, 'PG_VERSION'), 'utf8').trim();
  if (programs.major !== undefined && String(programs.major) !== found)
    throw new Error(
      `${folder} was made by Postgres ${found}, this is Postgres ${programs.major}: dump it with the old version, or remove it.`,
    );
}

function readPassword(passwordFile: string, folder: string): string {
  try {
    return readFileSync(passwordFile, 'utf8').trim();
  } catch (error) {
    throw new Error(
      `${passwordFile} is missing: put it back, or remove ${folder} to begin with an empty cluster.`,
      {
        cause: error,
      },
    );
  }
}
