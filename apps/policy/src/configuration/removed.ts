/** What a document takes out of the running configuration. Pure. */
import type { BlockSubject } from '@mayfly/contracts';
import type { Configuration } from '@mayfly/configuration';

export interface RemovedCredential {
  readonly organization: string;
  readonly credential: string;
}

/** Credentials that are in `before` and no longer in `after`, those of removed integrations and organizations too. */
export function removedCredentials(before: Configuration, after: Configuration): RemovedCredential[] {
  return [...before.organizations.keys()].flatMap((organization) =>
    [...before.credentialsOf(organization)]
      .filter(({ name }) => after.credential(organization, name) === undefined)
      .map(({ name }) => ({ organization, credential: name })),
  );
}

/** What to end for them: an integration that is gone as a whole, otherwise its credentials one by one. */
export function subjectsOf(
  removed: readonly RemovedCredential[],
  after: Configuration,
): { organization: string; subject: BlockSubject }[] {
  const subjects = new Map<string, { organization: string; subject: BlockSubject }>();
  for (const { organization, credential } of removed) {
    const integration = credential.split('/', 1).join('');
    const gone = after.integration(organization, integration) === undefined;
    const subject: BlockSubject = gone
      ? { kind: 'integration', id: integration }
      : { kind: 'credential', id: credential };
    subjects.set(JSON.stringify([organization, subject]), { organization, subject });
  }
  return [...subjects.values()];
}
