/** `mayfly apply`: replaces the configuration document, whole or not at all. */
import { http, type RemovalOrder } from '@mayfly/contracts';
import { Option, type Command } from 'commander';
import { advising, maybeDone, onlyFor, type Advice } from '../advice.ts';
import type { Session } from '../api/session.ts';
import { parseVersion } from '../arguments/version.ts';
import type { CommandContext } from '../command-context.ts';
import { printPreview } from '../output/config-preview.ts';
import { readDocument, reportProblems } from '../output/config-problems.ts';
import { noteWarnings, warningsOf } from '../output/config-warnings.ts';
import { secretProblems } from '../secrets/visible-secrets.ts';

/** What `apply` and `config rollback` have in common. */
export interface ApplyingOptions {
  readonly endLeases?: boolean;
  readonly lockMeOut?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

interface ApplyOptions extends ApplyingOptions {
  readonly file: string;
  readonly expectedVersion?: number;
}

export function addApplyingOptions(command: Command): Command {
  return command
    .option('--dry-run', 'say what it would change, and for whom; change nothing')
    .option('--end-leases', 'remove also integrations and credentials that have live leases, which then end')
    .option('--lock-me-out', 'apply also what no longer admits you as a platform administrator')
    .option('--json', 'print JSON');
}

export function registerApply(program: Command, context: CommandContext): void {
  const command = program
    .command('apply')
    .description('make a configuration document the running one')
    .requiredOption('-f, --file <path>', 'the document, mayfly.yaml')
    .addOption(
      new Option('--expected-version <number>', 'refuse unless this version is running').argParser(
        parseVersion,
      ),
    );
  addApplyingOptions(command)
    .addHelpText(
      'after',
      `
With any mistake in it the document is rejected, every place named, and the running one stays. One that removes integrations
or credentials with live leases is refused unless --end-leases is given. Whatever is removed is revoked: the revocations are durable
with the document and named here. You follow those of your own organization with \`mayfly revocations <id> --wait\`, the
administrators of other organizations theirs.

A document that would no longer admit you, shown the same identity again, as a platform administrator is refused unless --lock-me-out is
given. Who is locked out all the same runs \`mayfly-policy recover\` where policy runs; docs/operations.md tells how.

Examples:
  mayfly config check mayfly.yaml && mayfly apply -f mayfly.yaml
  mayfly apply -f mayfly.yaml --dry-run
  mayfly apply -f mayfly.yaml --expected-version 7
  mayfly apply -f mayfly.yaml --end-leases`,
    )
    .action(async ({ file, expectedVersion, ...options }: ApplyOptions, command: Command) => {
      const document = await readDocument(context.io, file);
      const unusable = await secretProblems(context.io, document);
      if (unusable.length > 0) return reportProblems(context, file, unusable, options.json === true);
      const session = await context.openSession('apply', command);
      await applyDocument(context, session, { name: file, document, expectedVersion }, options);
    });
}

/** Applies a document, or says what that would change, and prints the answer. */
export async function applyDocument(
  context: CommandContext,
  session: Session,
  {
    name,
    document,
    expectedVersion,
  }: { name: string; document: string; expectedVersion: number | undefined },
  { endLeases = false, lockMeOut, dryRun, json = false }: ApplyingOptions,
): Promise<void> {
  const answer = await advising(
    session.call(http.administration.putConfig, {
      document,
      expected_version: expectedVersion,
      end_leases: endLeases,
      lock_me_out: lockMeOut,
      dry_run: dryRun,
    }),
    advice,
  );
  if (answer.outcome === 'rejected') reportProblems(context, name, answer.problems, json);
  else if (json) context.printer.json(answer);
  else if (answer.outcome === 'would_apply') printPreview(context.printer, answer);
  else {
    context.printer.line(
      answer.unchanged
        ? `version ${answer.version} is running already`
        : `version ${answer.version} is running`,
    );
    noteRevocations(context, answer.revocations, answer.revocations_total);
    noteEndedSessions(context, answer.sessions_ended);
  }
  if (answer.outcome !== 'rejected') noteWarnings(context, name, await warningsOf(document));
}

const advice: Advice = {
  ...maybeDone(
    'It may have been applied: `mayfly config get` shows what is running. Applying the same again is safe.',
  ),
  ...onlyFor('a platform administrator'),
  // Policy names the field of its API when leases, or the administrator, stand in the way; else another document was applied meanwhile.
  conflict: ({ sentence }) =>
    sentence.includes('lock_me_out')
      ? 'Correct its trust rules; --dry-run tells whether you are still admitted. With --lock-me-out it is applied all the same.'
      : sentence.includes('end_leases')
        ? 'With --end-leases they end and the document is applied; without it, wait until they have ended.'
        : '`mayfly config get` shows what is running; look at it, then apply again.',
};

function noteRevocations({ printer }: CommandContext, named: readonly RemovalOrder[], total: number): void {
  for (const { organization, subject, revocation_id } of named) {
    printer.note(
      `leases of ${subject.kind} ${subject.id} end; ${organization} follows it by \`mayfly revocations ${revocation_id} --wait\``,
    );
  }
  if (total > named.length)
    printer.note(`and ${total - named.length} more; \`mayfly revocations\` lists them`);
}

function noteEndedSessions({ printer }: CommandContext, ended: number): void {
  if (ended === 0) return;
  const sessions = ended === 1 ? '1 session' : `${ended} sessions`;
  printer.note(`${sessions} that it no longer admits ended, with their leases`);
}
