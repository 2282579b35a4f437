/** `mayfly audit verify`: whether the audit log is what was written, independently of the services. */
import { readFile } from 'node:fs/promises';
import { errorTable } from '@mayfly/contracts';
import { verifyChain, type Verification, type VerifiedCheckpoint } from '@mayfly/domain';
import { loadVerificationKeys, tokenKinds, TokenVerifier } from '@mayfly/tokens';
import type { Command } from 'commander';
import { AuditLogReader } from '../audit-log/read-log.ts';
import type { CommandContext } from '../command-context.ts';
import { CommandFailure, usageExit } from '../failure.ts';
import { findDevelopmentFolder, readStackFile } from '../identity/development-folder.ts';

/** The log is not what was written. */
const brokenExit = 1;

interface VerifyOptions {
  readonly databaseUrl?: string;
  readonly checkpoints?: string;
  readonly keys?: string;
  readonly json?: boolean;
}

interface Places {
  readonly databaseUrl: string;
  readonly checkpointFile: string | undefined;
  readonly keysFile: string;
}

export function registerAuditVerify(audit: Command, context: CommandContext): void {
  audit
    .command('verify')
    .description('check the chain of the audit log and its signed checkpoints; names the first bad row')
    .option(
      '--database-url <url>',
      "Postgres as mayfly_auditor (MAYFLY_AUDIT_DATABASE_URL; default: the development stack's)",
    )
    .option('--checkpoints <file>', "the checkpoint file outside Postgres (default: the development stack's)")
    .option('--keys <file>', "public checkpoint keys, a JWK set (default: the development stack's)")
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Exit status: 0 the log is intact, 1 it is not.

Checkpoints in Postgres can be removed by whoever can change the log there; the copy outside it, the file that audit writes as
MAYFLY_CHECKPOINT_FILE, then tells. Without --checkpoints that copy is not compared. MAYFLY_AUDIT_DATABASE_URL keeps the
password out of the process list.

Examples:
  mayfly audit verify
  mayfly audit verify --database-url postgres://mayfly_auditor@db.example/mayfly \\
    --checkpoints /var/lib/mayfly/checkpoints.jsonl --keys checkpoint.jwks.json
  MAYFLY_AUDIT_DATABASE_URL="$AUDITOR_URL" mayfly audit verify --checkpoints checkpoints.jsonl --keys checkpoint.jwks.json --json`,
    )
    .action(async (_options: VerifyOptions, command: Command) => {
      const options = command.optsWithGlobals<VerifyOptions>();
      const places = await findPlaces(options, context);
      if (places.checkpointFile === undefined) context.printer.note(notCompared);
      const verification = await verify(places, context);
      if (options.json === true) context.printer.json(verification);
      else context.printer.result(describe(verification, places));
      if (verification.outcome === 'broken') context.exitStatus = brokenExit;
    });
}

const notCompared =
  'Warning: the copy of the checkpoints outside Postgres is not compared. A log whose end was rewritten or cut off passes as intact if the checkpoints in Postgres went with it. Name the file that audit writes (MAYFLY_CHECKPOINT_FILE) with --checkpoints.';

async function findPlaces(options: VerifyOptions, { io }: CommandContext): Promise<Places> {
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
  return { databaseUrl, keysFile, checkpointFile: options.checkpoints ?? stack?.checkpoint_file };
}

async function verify(places: Places, { printer }: CommandContext): Promise<Verification> {
  const verifier = new TokenVerifier(tokenKinds.checkpoint, await loadVerificationKeys(places.keysFile));
  const inFile = places.checkpointFile === undefined ? [] : await readCheckpointFile(places.checkpointFile);
  const log = await connect(places.databaseUrl);
  try {
    const end = await log.end();
    const checkpoints: VerifiedCheckpoint[] = [];
    for (const [source, tokens] of [
      ['Postgres', await log.checkpoints()],
      ['the file', inFile],
    ] as const) {
      for (const [index, token] of tokens.entries()) {
        const claims = await verifier.verify(token, { now: new Date() }).catch(() => undefined);
        if (claims === undefined) return unsigned(source, index);
        checkpoints.push({ seq: claims.seq, hash: claims.hash, source });
      }
    }
    return await verifyChain(log.rows(), checkpoints, end, (rows) =>
      printer.note(`${rows} of ${end} rows are fine`),
    );
  } finally {
    await log.close();
  }
}

function unsigned(source: string, index: number): Verification {
  return {
    outcome: 'broken',
    seq: 0,
    problem: 'changed',
    detail: `Checkpoint ${index + 1} in ${source} is not signed by a key of the key file: it was changed or added, or the keys are others.`,
  };
}

async function connect(url: string): Promise<AuditLogReader> {
  try {
    return await AuditLogReader.connect(url);
  } catch {
    throw new CommandFailure('Postgres did not let the auditor in.', {
      exit: errorTable.dependency_unavailable.exit,
      next: 'Check that it is running and that --database-url names the role mayfly_auditor with its password.',
    });
  }
}

/** Whole lines only: a last line without its end was cut off by a crash. */
async function readCheckpointFile(path: string): Promise<string[]> {
  const text = await readFile(path, 'utf8').catch(() => {
    throw new CommandFailure(`The checkpoint file ${path} can not be read.`, {
      exit: errorTable.not_found.exit,
      next: 'Name it with --checkpoints. A missing file is itself a reason to ask questions.',
    });
  });
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '');
}

function describe(verification: Verification, places: Places): string {
  if (verification.outcome === 'broken') return `BROKEN at row ${verification.seq}: ${verification.detail}`;
  const where =
    places.checkpointFile === undefined
      ? 'in Postgres only; no checkpoint file was given'
      : 'in Postgres and the file';
  return `intact: ${verification.rows} rows, ${verification.checkpoints} checkpoints (${where}), head ${verification.head.slice(0, 16)}…`;
}
