/** `mayfly apply`: replaces the configuration document, whole or not at all. */
import { http, type RemovalOrder } from '@mayfly/contracts';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { advising, maybeDone, onlyFor, type Advice } from '../advice.ts';
import type { CommandContext } from '../command-context.ts';
import { readDocument, reportProblems } from '../output/config-problems.ts';
import { noteWarnings, warningsOf } from '../output/config-warnings.ts';
import { secretProblems } from '../secrets/visible-secrets.ts';

interface ApplyOptions {
  readonly file: string;
  readonly expectedVersion?: number;
  readonly endLeases?: boolean;
  readonly json?: boolean;
}

export function registerApply(program: Command, context: CommandContext): void {
  program
    .command('apply')
    .description('make a configuration document the running one')
    .requiredOption('-f, --file <path>', 'the document, mayfly.yaml')
    .addOption(
      new Option('--expected-version <number>', 'refuse unless this version is running').argParser(
        parseVersion,
      ),
    )
    .option('--end-leases', 'remove also integrations and credentials that have live leases, which then end')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
With any mistake in it the document is rejected, every place named, and the running one stays. One that removes integrations
or credentials with live leases is refused unless --end-leases is given. Whatever is removed is revoked: the revocations are durable
with the document and named here. You follow those of your own organization with \`mayfly revocations <id> --wait\`, the
administrators of other organizations theirs.

Examples:
  mayfly config check mayfly.yaml && mayfly apply -f mayfly.yaml
  mayfly apply -f mayfly.yaml --expected-version 7
  mayfly apply -f mayfly.yaml --end-leases`,
    )
    .action(
      async ({ file, expectedVersion, endLeases = false, json = false }: ApplyOptions, command: Command) => {
        const document = await readDocument(context.io, file);
        const unusable = await secretProblems(context.io, document);
        if (unusable.length > 0) return reportProblems(context, file, unusable, json);
        const session = await context.openSession('apply', command);
        const answer = await advising(
          session.call(http.administration.putConfig, {
            document,
            expected_version: expectedVersion,
            end_leases: endLeases,
          }),
          advice,
        );
        if (answer.outcome === 'rejected') reportProblems(context, file, answer.problems, json);
        else if (json) context.printer.json(answer);
        else {
          context.printer.line(
            answer.unchanged
              ? `version ${answer.version} is running already`
              : `version ${answer.version} is running`,
          );
          noteRevocations(context, answer.revocations, answer.revocations_total);
          if (answer.sessions_ended > 0) {
            const sessions = answer.sessions_ended === 1 ? '1 session' : `${answer.sessions_ended} sessions`;
            context.printer.note(`${sessions} that it no longer admits ended, with their leases`);
          }
        }
        if (answer.outcome === 'applied') noteWarnings(context, file, await warningsOf(document));
      },
    );
}

const advice: Advice = {
  ...maybeDone(
    'It may have been applied: `mayfly config get` shows what is running. Applying the same again is safe.',
  ),
  ...onlyFor('a platform administrator'),
  // Policy names the field of its API when leases stand in the way; else another document was applied meanwhile.
  conflict: ({ sentence }) =>
    sentence.includes('end_leases')
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

function parseVersion(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a version number.');
  return Number(text);
}
