/** `mayfly audit verify`: whether the audit log is what was written, independently of the services. */
import { LogSession, verifyLog, type Progress, type Report } from '@mayfly/audit-log';
import { errorTable } from '@mayfly/contracts';
import { loadVerificationKeys, tokenKinds, TokenVerifier } from '@mayfly/tokens';
import type { Command } from 'commander';
import { findPlaces, type LogPlaces, type PlaceOptions } from '../audit-log/checkpoint-places.ts';
import { progressText, verificationJson, verificationLines } from '../audit-log/verification-text.ts';
import type { CommandContext } from '../command-context.ts';
import { CommandFailure, usageExit } from '../failure.ts';

/** The log is not what was written. */
const brokenExit = 1;

/** Reading a very long log through one index is one statement. */
const statementTimeoutMs = 6 * 3_600_000;

/** On a terminal progress is redrawn so often; elsewhere a line is written so often. Milliseconds. */
const redrawMs = 100;
const lineMs = 5_000;

interface VerifyOptions extends PlaceOptions {
  readonly owner: string;
  readonly json?: boolean;
}

export function registerAuditVerify(audit: Command, context: CommandContext): void {
  audit
    .command('verify')
    .description('check that the audit log, and all that queries of it go through, is what was written')
    .option(
      '--database-url <url>',
      "Postgres as mayfly_auditor (MAYFLY_AUDIT_DATABASE_URL; default: the development stack's)",
    )
    .option('--checkpoints <file>', "the checkpoint file outside Postgres (default: the development stack's)")
    .option('--keys <file>', "public checkpoint keys, a JWK set (default: the development stack's)")
    .option('--owner <role>', 'the role of the audit service, which is to own the log', 'mayfly_audit')
    .option('--json', 'print JSON, with every difference')
    .addHelpText(
      'after',
      `
Exit status: 0 the log is intact, 1 it is not; others mean that it could not be read.

Compared are each row with its hash and each column with its event; tables, views, functions, triggers, indexes, rights and settings
with what the migrations of this version make; each checkpoint with its signature, its row and the one before it.

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
      const report = await verify(places, options.owner, context);
      if (options.json === true)
        context.printer.json(verificationJson(report, places.checkpointFile !== undefined));
      else {
        const lines = verificationLines(report, places.checkpointFile !== undefined);
        for (const line of lines) context.printer.line(line);
      }
      if (report.findings.total > 0) context.exitStatus = brokenExit;
    });
}

const notCompared =
  'Warning: the copy of the checkpoints outside Postgres is not compared. A log whose end was rewritten or cut off passes as intact if the checkpoints in Postgres went with it. Name the file that audit writes (MAYFLY_CHECKPOINT_FILE) with --checkpoints.';

async function verify(places: LogPlaces, ownerRole: string, context: CommandContext): Promise<Report> {
  const keys = await loadVerificationKeys(places.keysFile).catch(() => {
    throw new CommandFailure(
      `The file of keys ${places.keysFile} can not be read, or holds no usable keys.`,
      {
        exit: usageExit,
        next: 'Name the file of checkpoint keys with --keys.',
      },
    );
  });
  const verifier = new TokenVerifier(tokenKinds.checkpoint, keys);
  const session = await connect(places.databaseUrl);
  const progress = shown(context);
  try {
    return await verifyLog({
      session,
      verifier,
      ownerRole,
      checkpointFile: places.checkpointFile,
      whole: true,
      onProgress: progress.tell,
    });
  } catch (error) {
    throw asFailure(error);
  } finally {
    progress.clear();
    await session.close();
  }
}

/** A bar on a terminal, a line now and then elsewhere. */
function shown({ io, printer }: CommandContext): { tell: (progress: Progress) => void; clear: () => void } {
  const bar = printer.progressBar();
  let last = io.now().getTime();
  const tell = (progress: Progress) => {
    const now = io.now().getTime();
    if (now - last < (bar !== undefined ? redrawMs : lineMs)) return;
    last = now;
    const text = progressText(progress);
    if (bar === undefined) printer.note(text);
    else if (progress.step === 'rows') bar.show(progress.done, progress.total, text);
    else bar.show(1, 1, text);
  };
  return { tell, clear: () => bar?.clear() };
}

async function connect(connectionString: string): Promise<LogSession> {
  try {
    return await LogSession.open({
      connectionString,
      applicationName: 'mayfly audit verify',
      statementTimeoutMs,
    });
  } catch {
    throw new CommandFailure('Postgres did not let the auditor in.', {
      exit: errorTable.dependency_unavailable.exit,
      next: 'Check that it is running and that --database-url names the role mayfly_auditor with its password.',
    });
  }
}

/** An SQLSTATE is all that is told of what Postgres says. */
function asFailure(error: unknown): unknown {
  const code = (error as { code?: unknown } | undefined)?.code;
  if (typeof code !== 'string' || !/^[0-9A-Z]{5}$/.test(code)) return error;
  return new CommandFailure(`Postgres gave up while the log was read (${code}); nothing is known about it.`, {
    exit: errorTable.dependency_unavailable.exit,
    next: 'Try again; the log of Postgres has its reason.',
  });
}
