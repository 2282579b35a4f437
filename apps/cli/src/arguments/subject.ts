/** Subjects on the command line: one option per kind, and exactly one of them. */
import { Subject, type RevocationSubject } from '@mayfly/contracts';
import type { Command } from 'commander';

export type SubjectKind = RevocationSubject['kind'];

const kinds: readonly Subject['kind'][] = Subject.shape.kind.options;

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
  for (const kind of kinds) {
    const meaning = meanings[kind];
    if (meaning !== undefined) command.option(`--${kind} ${placeholders[kind] ?? '<name>'}`, meaning);
  }
  if (meanings.everything !== undefined) command.option('--everything', meanings.everything);
}

/** All that were named. */
export function subjectsOf(options: SubjectOptions): RevocationSubject[] {
  const named = kinds.flatMap((kind): RevocationSubject[] => {
    const id = options[kind];
    if (id === undefined) return [];
    if (kind === 'organization' && id === true) return [{ kind }];
    return [{ kind, id: String(id) }];
  });
  return options.everything === undefined ? named : [...named, { kind: 'everything' }];
}

/** `user ada@example.com`, `everything`. */
export function subjectText(subject: RevocationSubject): string {
  if ('id' in subject) return `${subject.kind} ${subject.id}`;
  return subject.kind === 'organization' ? 'the whole organization' : subject.kind;
}
