/**
 * Runs the hostile lessees against PostgreSQL 13 to 18: `npm run test:hostile`, or with Jest's arguments after `--`. The versions between
 * the oldest and the newest, which `npm test` does without, are installed at first, beside this file, by their own lock file.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const servers = join(import.meta.dirname, 'servers');
const versions = [13, 14, 15, 16, 17, 18];

function main() {
  if (!existsSync(join(servers, 'node_modules', '.package-lock.json'))) {
    process.stdout.write('Installing PostgreSQL 14 to 17 ...\n');
    const { status } = spawnSync('npm', ['ci', '--prefix', servers], { stdio: 'inherit' });
    if (status !== 0) return status ?? 1;
  }
  const { status } = spawnSync(
    process.execPath,
    [
      join(import.meta.dirname, '..', '..', 'run.js'),
      '--selectProjects',
      'hostile',
      ...process.argv.slice(2),
    ],
    {
      stdio: 'inherit',
      env: { MAYFLY_HOSTILE_VERSIONS: versions.filter(isThere).join(','), ...process.env },
    },
  );
  return status ?? 1;
}

/** Some platforms have no packages of the oldest versions; that is said, and not passed over. */
function isThere(major) {
  const name = `postgres-${major}-${process.platform}-${process.arch}`;
  const isInstalled =
    major === 18 ||
    [servers, join(import.meta.dirname, '..', '..', '..')].some((folder) =>
      existsSync(join(folder, 'node_modules', name)),
    );
  if (!isInstalled)
    process.stdout.write(
      `PostgreSQL ${major}: not run, there is none for ${process.platform} ${process.arch}.\n`,
    );
  return isInstalled;
}

process.exitCode = main();
