/**
 * `mayfly exec`: runs a command with credentials that live as long as it does. The secret is in the child's environment
 * or in a 0600 file, never among arguments; if any mint fails the child never starts; whatever ends mayfly short of
 * SIGKILL, the leases are given back and the files removed; after SIGKILL the next run removes them.
 */
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { JsonObject } from '@mayfly/contracts';
import type { Session } from '../api/session.ts';
import { parseDuration } from '../arguments/duration.ts';
import { parseScope } from '../arguments/scope.ts';
import type { CommandContext } from '../command-context.ts';
import { giveBack, noteEndOf, requestLease, type OpenedLease } from '../credentials/lease.ts';
import { childEnvironment, prefixesOf } from '../execution/child-environment.ts';
import { runChild } from '../execution/run-child.ts';
import { Renewals } from '../execution/renewals.ts';
import { SecretFiles } from '../execution/secret-files.ts';
import { Interrupted, SignalRelay } from '../execution/signal-relay.ts';
import { CommandFailure, statusOfSignal, usageFailure } from '../failure.ts';

interface ExecOptions {
  readonly ttl?: number;
  readonly scope?: JsonObject;
  readonly task?: string;
  readonly justification?: string;
  readonly envPrefix?: string;
  readonly file?: boolean;
  readonly heartbeat?: number;
}

export function registerExec(program: Command, context: CommandContext): void {
  program
    .command('exec')
    .description('run a command with credentials that end with it')
    .usage('[options] <credential>... -- <command...>')
    .argument('<credential...>', 'one or more of what `mayfly credentials` lists')
    .addOption(
      new Option('--ttl <duration>', 'how long they shall live at most: 90s, 15m, 1h').argParser(
        parseDuration,
      ),
    )
    .addOption(
      new Option(
        '--scope <scope>',
        'less than the credential allows: JSON, or privileges=SELECT,schemas=public',
      ).argParser(parseScope),
    )
    .option('--task <text>', 'what you are doing, for the audit log')
    .option('--justification <text>', 'why you need it, for the audit log')
    .option('--env-prefix <prefix>', 'put this before the name of each variable')
    .addOption(
      new Option(
        '--heartbeat <duration>',
        'have the credentials end within this, 10s to 5m, should mayfly itself be killed',
      ).argParser(parseHeartbeat),
    )
    .option('--file', 'keep the secret out of the environment: in a 0600 file whose path is there')
    .addHelpText(
      'after',
      `
Variables for postgres: PGHOST PGPORT PGDATABASE PGUSER PGPASSWORD DATABASE_URL (with --file PGPASSFILE instead of the password), and
where the integration says so PGSSLMODE PGSSLROOTCERT PGCHANNELBINDING PGTARGETSESSIONATTRS; for jwt: MAYFLY_TOKEN (MAYFLY_TOKEN_FILE); always MAYFLY_LEASE_ID and MAYFLY_EXPIRES_AT. With several
credentials each name begins with that of its credential: ORDERS_DB_READONLY_PGHOST. No other variable of Mayfly's reaches the command,
but MAYFLY_URL; nor do those of libpq that would lead it elsewhere, such as PGSERVICE, PGHOSTADDR, PGPASSFILE, PGOPTIONS. What the
command needs of them, set for it: mayfly exec … -- env PGOPTIONS=… psql.

What is renewable in place is renewed when a third of its time is left, for as long as policy allows; MAYFLY_EXPIRES_AT is the
first end.

Examples:
  mayfly exec orders-db/readonly -- psql -c 'select count(*) from orders'
  mayfly exec orders-db/readonly --file --ttl 10m -- pg_dump --schema-only
  mayfly exec orders-db/readonly --heartbeat 30s -- ./long-job.sh
  mayfly exec orders-db/readonly reports-api/read -- ./nightly-report.sh`,
    )
    .action(async (credentials: string[], options: ExecOptions, command: Command) => {
      context.exitStatus = await execute(context, credentials, options, command);
    });
}

async function execute(
  context: CommandContext,
  credentials: readonly string[],
  options: ExecOptions,
  parsed: Command,
): Promise<number> {
  checkArguments(context, credentials, options);
  const prefixes = prefixesOf(credentials, options.envPrefix);
  const relay = new SignalRelay(context.io);
  let stopHeartbeat = (): void => undefined;
  try {
    const session = await context.openSession('exec', parsed, relay.beforeChild, options.heartbeat);
    if (options.heartbeat !== undefined) stopHeartbeat = session.keepAlive(options.heartbeat);
    return await withLeases(context, session, [...prefixes.keys()], options, relay, (leases) =>
      runWith(
        context,
        leases.map((lease) => ({ prefix: prefixes.get(lease.lease.credential) ?? '', lease })),
        options,
        relay,
      ),
    );
  } catch (error) {
    if (error instanceof Interrupted) return statusOfSignal(error.signal);
    throw error;
  } finally {
    stopHeartbeat();
    relay.stop();
  }
}

function parseHeartbeat(text: string): number {
  const seconds = parseDuration(text);
  if (seconds < 10 || seconds > 300) throw new InvalidArgumentError('A heartbeat is from 10s to 5m.');
  return seconds;
}

function checkArguments(
  { childCommand }: CommandContext,
  credentials: readonly string[],
  { scope, envPrefix }: ExecOptions,
): void {
  if (childCommand.length === 0) {
    throw usageFailure(
      'There is no command to run.',
      'Write it after `--`: mayfly exec <credential> -- <command>.',
    );
  }
  if (scope !== undefined && credentials.length > 1) {
    throw usageFailure('--scope is for one credential.', 'Run `mayfly exec` with one, or leave --scope out.');
  }
  if (envPrefix !== undefined && !/^[A-Za-z_][A-Za-z0-9_]*$/.test(envPrefix)) {
    throw usageFailure('--env-prefix must be letters, digits and "_", not beginning with a digit.');
  }
}

/**
 * All leases or none: those of a failed attempt are given back, and so are all when `use` is done. Meanwhile they are renewed;
 * a renewal that is under way then is over before its lease is given back.
 */
async function withLeases(
  { printer }: CommandContext,
  session: Session,
  credentials: readonly string[],
  { ttl, scope, task, justification }: ExecOptions,
  relay: SignalRelay,
  use: (leases: readonly OpenedLease[]) => Promise<number>,
): Promise<number> {
  const attempts = await Promise.allSettled(
    credentials.map((credential) =>
      requestLease(session, { credential, ttlSeconds: ttl, scope, task, justification }, relay.beforeChild),
    ),
  );
  const leases = attempts.flatMap((attempt) => (attempt.status === 'fulfilled' ? [attempt.value] : []));
  const renewals = new Renewals(session, printer);
  noteEndOf(session, printer);
  try {
    for (const attempt of attempts) if (attempt.status === 'rejected') throw attempt.reason;
    relay.beforeChild.throwIfAborted();
    renewals.keep(leases.map(({ lease }) => lease));
    return await use(leases);
  } finally {
    renewals.stop();
    relay.childEnded();
    const given = leases.map(({ lease }) => renewals.latest(lease));
    await giveBack(session, given, printer, relay.afterChild);
    // Ends what an interrupted mint may have left; without this the session would still expire by itself.
    await session.end(relay.afterChild).catch(() => undefined);
  }
}

async function runWith(
  { io, childCommand, printer }: CommandContext,
  leases: readonly { readonly prefix: string; readonly lease: OpenedLease }[],
  { file = false }: ExecOptions,
  relay: SignalRelay,
): Promise<number> {
  const files = file ? await SecretFiles.make(io.env) : undefined;
  try {
    const environment = childEnvironment(io.env, leases, files);
    const { status, failedToStart } = await runChild(childCommand, environment, io, relay);
    if (failedToStart !== undefined) {
      printer.failure(
        new CommandFailure(`The command ${childCommand[0] ?? ''} did not start: ${failedToStart}.`, {
          exit: status,
        }),
      );
    }
    return status;
  } finally {
    files?.remove();
  }
}
