/** Subjects as they can be looked for. Pure. */
import { Uuid } from '@mayfly/contracts';
import type { AcceptedRevocation } from '../store/revocations.ts';

/** What is wrong with a subject, whoever signed or sent it; undefined when nothing is. */
export function problemOf({ kind, id }: AcceptedRevocation['subject']): string | undefined {
  const isNamedByUuid = kind === 'lease' || kind === 'session';
  return isNamedByUuid && !Uuid.safeParse(id).success ? `A ${kind} is named by its id, a UUID.` : undefined;
}
