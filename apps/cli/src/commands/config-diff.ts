/** `mayfly config diff`: how two documents differ, as text. `mayfly apply --dry-run` tells what that means. */
import { http } from '@mayfly/contracts';
import type { StructuredPatchHunk } from 'diff';
import type { Command } from 'commander';
import { advising, onlyFor } from '../advice.ts';
import type { Session } from '../api/session.ts';
import { parseVersion } from '../arguments/version.ts';
import type { CommandContext } from '../command-context.ts';
import { CommandFailure, usageFailure } from '../failure.ts';
import { readDocument } from '../output/config-problems.ts';
import type { Printer } from '../output/printer.ts';

interface DiffOptions {
  readonly file?: string;
  readonly json?: boolean;
}

interface Named {
  readonly name: string;
  readonly document: string;
}

const contextLines = 3;
/** Comparing two documents that have nothing in common may take very long. Milliseconds. */
const longestMs = 10_000;

export function registerConfigDiff(config: Command, context: CommandContext): void {
  config
    .command('diff')
    .description('show how two versions of the configuration document differ')
    .argument(
      '[from]',
      'a version; default: the running one with --file, else the one before it',
      parseVersion,
    )
    .argument('[to]', 'a version; default: the running one', parseVersion)
    .option('-f, --file <path>', 'compare with this document instead of a second version')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
A line with - is only in the first, one with + only in the second. What a document changes for whom tells \`mayfly apply --dry-run\`.

Examples:
  mayfly config diff
  mayfly config diff 3
  mayfly config diff 3 5 --json
  mayfly config diff -f mayfly.yaml`,
    )
    .action(
      async (from: number | undefined, to: number | undefined, options: DiffOptions, command: Command) => {
        if (options.file !== undefined && to !== undefined) {
          throw usageFailure('Say a second version or --file, not both.');
        }
        const file = options.file === undefined ? undefined : await readDocument(context.io, options.file);
        const session = await context.openSession('configDiff', command);
        const second =
          file === undefined ? await versionOf(session, to) : { name: options.file ?? '', document: file };
        const first = await versionOf(session, from ?? (file === undefined ? before(second) : undefined));
        await print(context.printer, first, second, options.json === true);
      },
    );
}

interface NamedVersion extends Named {
  readonly version: number;
}

async function versionOf(session: Session, version: number | undefined): Promise<NamedVersion> {
  const answer = await advising(session.call(http.administration.getConfig, { version }), {
    ...onlyFor('a platform administrator'),
    not_found: '`mayfly config history` lists the versions.',
  });
  return { name: `version ${answer.version}`, version: answer.version, document: answer.document };
}

function before(second: Named): number {
  const version = 'version' in second ? Number(second.version) : 0;
  if (version < 2)
    throw usageFailure('There is no version before it.', '`mayfly config history` lists the versions.');
  return version - 1;
}

async function print(printer: Printer, first: Named, second: Named, json: boolean): Promise<void> {
  // Loaded only here: no other command compares texts.
  const { structuredPatch } = await import('diff');
  const patch = structuredPatch(
    first.name,
    second.name,
    first.document,
    second.document,
    undefined,
    undefined,
    {
      context: contextLines,
      timeout: longestMs,
    },
  );
  if (patch === undefined) {
    throw new CommandFailure('They differ too much to be compared line by line.', {
      exit: 1,
      next: '`mayfly config get <version>` prints each of them.',
    });
  }
  if (json) {
    printer.json({ from: first.name, to: second.name, hunks: patch.hunks.map(hunkOf) });
    return;
  }
  if (patch.hunks.length === 0) {
    printer.note(`${first.name} and ${second.name} are the same`);
    return;
  }
  printer.line(`--- ${first.name}`);
  printer.line(`+++ ${second.name}`);
  for (const hunk of patch.hunks) {
    printer.coloured('dim', `@@ -${hunk.oldStart},${hunk.oldLines} +${hunk.newStart},${hunk.newLines} @@`);
    for (const line of hunk.lines) {
      printer.coloured(line.startsWith('+') ? 'green' : line.startsWith('-') ? 'red' : undefined, line);
    }
  }
}

const kinds: Readonly<Record<string, string>> = { '+': 'added', '-': 'removed', ' ': 'same' };

function hunkOf(hunk: StructuredPatchHunk) {
  return {
    from_line: hunk.oldStart,
    to_line: hunk.newStart,
    lines: hunk.lines
      // "\\ No newline at end of file" is a remark, no line.
      .filter((line) => Object.hasOwn(kinds, line.charAt(0)))
      .map((line) => ({ change: kinds[line.charAt(0)], text: line.slice(1) })),
  };
}
