/** Whether what an administrator names can exist at all: a typo must not answer as if somebody were stopped. */
import type { RevocationSubject } from '@mayfly/contracts';
import { didYouMean, type Configuration } from '@mayfly/configuration';
import { orchestrationOf } from '@mayfly/domain';

/**
 * What is wrong with a subject, for its asker, without repeating what was sent; undefined for one that is configured, and for kinds that no configuration knows (users,
 * sessions, leases). Another organization's names are as unknown as any (I5). Pure.
 */
export function unknownSubject(
  configuration: Configuration,
  organization: string,
  subject: RevocationSubject,
): string | undefined {
  if (!('id' in subject)) return undefined;
  const { kind, id } = subject;
  switch (kind) {
    case 'credential': {
      if (configuration.credential(organization, id) !== undefined) return undefined;
      const names = [...configuration.credentialsOf(organization)].map(({ name }) => name);
      return `There is no such credential${didYouMean(id, names)}`;
    }
    case 'integration': {
      if (configuration.integration(organization, id) !== undefined) return undefined;
      const own = [...configuration.integrations].filter((one) => one.organization === organization);
      return `There is no such integration${didYouMean(
        id,
        own.map(({ name }) => name),
      )}`;
    }
    case 'agent': {
      const domain = configuration.organizations.get(organization)?.trustDomain ?? '';
      const inDomain = id.startsWith(`spiffe://${domain}/`);
      if (inDomain && (orchestrationOf(id) !== undefined || /^spiffe:\/\/[^/]+\/person\/[^/]+$/.test(id))) {
        return undefined;
      }
      return inDomain
        ? `No agent has such an id; it looks like spiffe://${domain}/agent/<orchestration>/<task>/<instance>`
        : `Your agents are of the trust domain ${domain}`;
    }
    default:
      return undefined;
  }
}
