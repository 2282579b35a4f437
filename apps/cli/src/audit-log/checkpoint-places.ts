/** Where `mayfly audit verify` finds the log, its checkpoints outside Postgres, and the keys. */
import { access, constants } from 'node:fs/promises';
import { errorTable } from '@mayfly/contracts';
import type { CommandContext } from '../command-context.ts';
import { CommandFailure, usageExit } from '../failure.ts';
import { findDevelopmentFolder, readStackFile, type StackFile } from '../identity/development-folder.ts';
import type { Io } from '../io.ts';

export interface PlaceOptions {
  readonly databaseUrl?: string;
  readonly checkpoints?: string;
  readonly keys?: string;
}

export interface LogPlaces {
  /** Secret: it carries a password. */
  readonly databaseUrl: string;
  readonly checkpointFile: string | undefined;
  readonly keysFile: string;
}

/** From the options, the environment, or the development stack. Throws CommandFailure. */
export async function findPlaces(options: PlaceOptions, { io }: CommandContext): Promise<LogPlaces> {
  const named = options.databaseUrl ?? io.env['MAYFLY_AUDIT_DATABASE_URL'];
  // A log that was named is held against keys and checkpoints that were: those of a folder on the way would vouch for themselves.
  const stack = named === undefined ? runningStack(io) : undefined;
  const databaseUrl = named ?? stack?.postgres?.auditor_url;
  const keysFile = options.keys ?? stack?.checkpoint_keys_file;
  if (databaseUrl !== undefined && keysFile === undefined) {
    throw new CommandFailure(
      'The database is named, and the keys that its checkpoints are held against are not.',
      {
        exit: usageExit,
        next: 'Name them with --keys: the file checkpoint.jwks.json of the public keys.',
      },
    );
  }
  if (databaseUrl === undefined || keysFile === undefined) {
    throw new CommandFailure('There is nothing to verify: no development stack is running here.', {
      exit: usageExit,
      next: 'Name the database, the checkpoint file and the keys: mayfly audit verify --database-url … --checkpoints … --keys …',
    });
  }
  const checkpointFile = options.checkpoints ?? stack?.checkpoint_file;
  if (checkpointFile !== undefined) await mustBeReadable(checkpointFile);
  return { databaseUrl, keysFile, checkpointFile };
}

function runningStack(io: Pick<Io, 'env' | 'cwd'>): StackFile | undefined {
  const folder = findDevelopmentFolder(io);
  const stack = folder === undefined ? undefined : readStackFile(folder);
  const url = stack?.postgres?.auditor_url;
  if (url !== undefined && !isComplete(url)) {
    throw new CommandFailure("The stack's own file names no whole URL of its database.", {
      exit: usageExit,
      next: 'Start it anew with `npm start`, or name the database with --database-url.',
    });
  }
  return stack;
}

/** What a URL leaves open is filled in from PGPASSWORD or ~/.pgpass: this user's own passwords, for a server that was found. */
function isComplete(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return (
    url !== undefined &&
    /^postgres(ql)?:$/.test(url.protocol) &&
    [url.hostname, url.username, url.password].every((part) => part !== '') &&
    !['host', 'hostaddr', 'user', 'password', 'service', 'passfile'].some((name) =>
      url.searchParams.has(name),
    )
  );
}

async function mustBeReadable(path: string): Promise<void> {
  await access(path, constants.R_OK).catch(() => {
    throw new CommandFailure(`The checkpoint file ${path} can not be read.`, {
      exit: errorTable.not_found.exit,
      next: 'Name it with --checkpoints. A missing file is itself a reason to ask questions.',
    });
  });
}
