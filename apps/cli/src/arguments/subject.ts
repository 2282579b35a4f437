/** Subjects on the command line: one option per kind, and exactly one of them. */
import { RevocationSubject, subjectKinds } from '@mayfly/contracts';
import type { Command } from 'commander';
import { usageFailure } from '../failure.ts';

export type SubjectKind = RevocationSubject['kind'];

/** What commander makes of the options; `organization` without a name is `true`. */
export type SubjectOptions = Readonly<Partial<Record<SubjectKind, string | true>>>;

const placeholders: Partial<Record<SubjectKind, string>> = {
  lease: '<id>',
  session: '<id>',
  agent: '<id>',
  organization: '[name]',
};

/** Adds an option for each kind that has a meaning. */
export function addSubjectOptions(
  command: Command,
  meanings: Readonly<Partial<Record<SubjectKind, string>>>,
): void {
  for (const kind of subjectKinds) {
    const meaning = meanings[kind];
    if (meaning !== undefined) command.option(`--${kind} ${placeholders[kind] ?? '<name>'}`, meaning);
  }
  if (meanings.everything !== undefined) command.option('--everything', meanings.everything);
}

/** All that were named, each in the form of its kind. Throws a usage failure for a name that can be none. */
export function subjectsOf(options: SubjectOptions): RevocationSubject[] {
  const named = subjectKinds.flatMap((kind): RevocationSubject[] => {
    const id = options[kind];
    if (id === undefined) return [];
    if (kind === 'organization' && id === true) return [{ kind }];
    const subject = RevocationSubject.safeParse({ kind, id: String(id) });
    if (!subject.success) {
      throw usageFailure(`--${kind} ${subject.error.issues[0]?.message ?? 'is no name of its kind'}.`);
    }
    return [subject.data];
  });
  return options.everything === undefined ? named : [...named, { kind: 'everything' }];
}

/** `user ada@example.com`, `everything`. */
export function subjectText(subject: {
  readonly kind: SubjectKind;
  readonly id?: string | undefined;
}): string {
  if (subject.id !== undefined) return `${subject.kind} ${subject.id}`;
  return subject.kind === 'organization' ? 'the whole organization' : subject.kind;
}
