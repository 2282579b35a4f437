/** Where `mayfly audit verify` finds the log, its checkpoints outside Postgres, and the keys. */
import { access, constants } from 'node:fs/promises';
import { errorTable } from '@mayfly/contracts';
import type { CommandContext } from '../command-context.ts';
import { CommandFailure, usageExit } from '../failure.ts';
import { findDevelopmentFolder, readStackFile } from '../identity/development-folder.ts';

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
  const folder = await findDevelopmentFolder(io);
  const stack = folder === undefined ? undefined : await readStackFile(folder);
  const databaseUrl =
    options.databaseUrl ?? io.env['MAYFLY_AUDIT_DATABASE_URL'] ?? stack?.postgres?.auditor_url;
  const keysFile = options.keys ?? stack?.checkpoint_keys_file;
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

async function mustBeReadable(path: string): Promise<void> {
  await access(path, constants.R_OK).catch(() => {
    throw new CommandFailure(`The checkpoint file ${path} can not be read.`, {
      exit: errorTable.not_found.exit,
      next: 'Name it with --checkpoints. A missing file is itself a reason to ask questions.',
    });
  });
}
