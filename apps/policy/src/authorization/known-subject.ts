/**
 * Whether there can be anything that an administrator names: a typing mistake that is answered "blocked" or "0 leases" is taken for
 * an end. Who may ask, and whose leases are meant, is decided elsewhere.
 */
import { MayflyError, type RevocationSubject } from '@mayfly/contracts';
import { organizationNameOf, trustDomainOf } from '@mayfly/domain';
import type { Configuration } from '@mayfly/configuration';
import type { Pool } from 'pg';
import type { RunningConfiguration } from '../configuration/running-configuration.ts';
import { hasLiveLeases } from '../store/live-leases.ts';

/** What is wrong with the name, in the same words whether another organization has it or nobody (I5). Pure. */
export function problemOfSubject(
  subject: RevocationSubject,
  organization: string,
  configuration: Pick<Configuration, 'organizations' | 'credential' | 'integration'>,
): string | undefined {
  switch (subject.kind) {
    case 'agent': {
      const trustDomain = configuration.organizations.get(organization)?.trustDomain;
      return trustDomain === undefined || trustDomainOf(subject.id) === trustDomain
        ? undefined
        : `No agent of this organization can be called so: its trust domain is ${trustDomain}.`;
    }
    case 'credential':
      return configuration.credential(organization, subject.id) === undefined
        ? `There is no credential ${subject.id} in this organization.`
        : undefined;
    case 'integration':
      return configuration.integration(organization, subject.id) === undefined
        ? `There is no integration ${subject.id} in this organization.`
        : undefined;
    default:
      return undefined;
  }
}

/**
 * Throws `invalid_request` for a name that nothing can have. What the configuration no longer has is still known while leases of it
 * live. Without a usable configuration nothing is refused: an end never waits for one.
 */
export async function requireKnownSubject(
  subject: RevocationSubject,
  organization: string,
  running: Pick<RunningConfiguration, 'isLoaded' | 'current' | 'refresh'>,
  pool: Pool,
): Promise<void> {
  const problem = () =>
    running.isLoaded() ? problemOfSubject(subject, organization, running.current().configuration) : undefined;
  if (problem() === undefined) return;
  // It may have come with a version that another replica has just stored.
  await running.refresh();
  const found = problem();
  if (found === undefined || (await hasLiveLeases(pool, organization, subject))) return;
  throw new MayflyError('invalid_request', found);
}

/** The own organization may be named by its name; it is known by its id. */
export function ownOrganization(subject: RevocationSubject, organization: string): RevocationSubject {
  return subject.kind === 'organization' && subject.id === organizationNameOf(organization)
    ? { kind: 'organization', id: organization }
    : subject;
}
