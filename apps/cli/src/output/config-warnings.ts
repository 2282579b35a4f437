/** What a configuration document says that is right and hardly meant: told beside the result, and no reason to refuse it. */
import type { ConfigProblem } from '@mayfly/contracts';
import type { CommandContext } from '../command-context.ts';
import { problemLine } from './config-problems.ts';

/** Notes each as `file:line:column: warning: message`. */
export function noteWarnings(
  { printer }: Pick<CommandContext, 'printer'>,
  file: string,
  warnings: readonly ConfigProblem[],
): void {
  for (const warning of warnings) {
    printer.note(problemLine(file, { ...warning, message: `warning: ${warning.message}` }));
  }
}

/** Those of a document that this release can read; of any other the policy service says what is wrong. */
export async function warningsOf(document: string): Promise<readonly ConfigProblem[]> {
  // Loaded only here: the policy engine in it would slow every other command down.
  const { parseConfiguration } = await import('@mayfly/configuration');
  const parsed = parseConfiguration(document);
  return parsed.outcome === 'ok' ? parsed.warnings : [];
}
