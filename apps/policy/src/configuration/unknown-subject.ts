/** Whether what an administrator names can exist at all: a typo must not answer as if somebody were stopped. */
import type { RevocationSubject } from '@mayfly/contracts';
import { didYouMean, type Configuration } from '@mayfly/configuration';
import { trustDomainOf } from '@mayfly/domain';

/**
 * What is wrong with a subject, for its asker, without repeating what was sent; undefined for one that is configured, and for kinds
 * that no configuration knows (users, sessions, leases). Another organization's names are as unknown as any (I5). Pure.
 * @param organization Id.
 */
export function unknownSubject(
  configuration: Pick<
    Configuration,
    'organizations' | 'credential' | 'credentialsOf' | 'integration' | 'integrations'
  >,
  organization: string,
  subject: RevocationSubject,
): string | undefined {
  switch (subject.kind) {
    case 'credential': {
      if (configuration.credential(organization, subject.id) !== undefined) return undefined;
      const names = [...configuration.credentialsOf(organization)].map(({ name }) => name);
      return `There is no such credential${didYouMean(subject.id, names)}`;
    }
    case 'integration': {
      if (configuration.integration(organization, subject.id) !== undefined) return undefined;
      const own = [...configuration.integrations].filter((one) => one.organization === organization);
      const names = own.map(({ name }) => name);
      return `There is no such integration${didYouMean(subject.id, names)}`;
    }
    case 'agent': {
      // Undefined for an organization that is gone from the document: what is left of it may be ended.
      const domain = configuration.organizations.get(organization)?.trustDomain;
      return domain === undefined || trustDomainOf(subject.id) === domain
        ? undefined
        : `Your agents are of the trust domain ${domain}`;
    }
    default:
      return undefined;
  }
}
