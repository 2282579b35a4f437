/** Configuration documents: reading one, and saying where it is wrong. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { ConfigProblem } from '@mayfly/contracts';
import type { CommandContext } from '../command-context.ts';
import { systemErrorCode, usageExit, usageFailure } from '../failure.ts';
import type { Io } from '../io.ts';

/** The contract's bound for a document, in characters. */
const maxDocumentLength = 786_432;

/** @throws CommandFailure when it can't be read, or is larger than a document may be. */
export async function readDocument({ cwd }: Pick<Io, 'cwd'>, path: string): Promise<string> {
  let document: string;
  try {
    document = await readFile(resolve(cwd, path), 'utf8');
  } catch (error) {
    const missing = systemErrorCode(error) === 'ENOENT';
    throw usageFailure(
      `${path} ${missing ? 'does not exist' : "can't be read"}.`,
      'Name the configuration document, mayfly.yaml.',
    );
  }
  if (document.length > maxDocumentLength) throw usageFailure(`${path} is larger than 768 KiB.`);
  return document;
}

/** Prints every problem as `file:line:column: message`, as editors and CI systems read it. */
export function reportProblems(
  context: CommandContext,
  file: string,
  problems: readonly ConfigProblem[],
  json: boolean,
): void {
  context.exitStatus = usageExit;
  if (json) context.printer.json({ outcome: 'rejected', problems });
  else for (const problem of problems) context.printer.line(problemLine(file, problem));
  context.printer.note(
    `${file} was rejected: ${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}`,
  );
}

export function problemLine(file: string, { path, line, column, message }: ConfigProblem): string {
  // Messages name what they are about; only without a place does the path have to say where.
  const place = line === undefined ? [file, ...(path === '' ? [] : [` ${path}`])] : [file, line, column];
  return `${place.filter((part) => part !== undefined).join(':')}: ${message}`;
}
