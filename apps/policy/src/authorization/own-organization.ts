/** Organizations are asked for by their names and known by their ids. */
import type { RevocationSubject } from '@mayfly/contracts';
import { organizationNameOf } from '@mayfly/domain';

/** The own organization may be named by its name; it is known by its id. */
export function ownOrganization(subject: RevocationSubject, organization: string): RevocationSubject {
  return subject.kind === 'organization' && subject.id === organizationNameOf(organization)
    ? { kind: 'organization', id: organization }
    : subject;
}
