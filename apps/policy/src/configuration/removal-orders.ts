/** What follows from removing credentials: the refusal while they have live leases, or the orders to revoke them. Pure. */
import type { EventData, MayflyEvent, RemovalOrder } from '@mayfly/contracts';
import type { Configuration } from '@mayfly/configuration';
import { v7 as uuidv7 } from 'uuid';
import { policyEvent } from '../reporting/events.ts';
import { subjectsOf, type RemovedCredential } from './removed.ts';

/** Most that a refusal names. */
const namedAtMost = 5;

/** One for each removed credential or whole integration, with or without live leases: nothing of it shall live. */
export function removalOrders(removed: readonly RemovedCredential[], after: Configuration): RemovalOrder[] {
  return subjectsOf(removed, after).map((subject) => ({ ...subject, revocation_id: uuidv7() }));
}

/** Revocation carries the order out when it gets this. Told in the organization whose leases end. */
export function removalEvent(
  { organization, subject, revocation_id }: RemovalOrder,
  about: EventData,
  version: number,
): MayflyEvent {
  return policyEvent(
    'config.removed',
    {
      organization,
      ...(about.session_id === undefined ? {} : { session_id: about.session_id }),
      ...(about.agent_id === undefined ? {} : { agent_id: about.agent_id }),
      reason: 'removed from the configuration',
      config_version: version,
      outcome: 'removed',
      revocation_id,
      action_context: { ...about.action_context, subject },
    },
    { subject: revocation_id },
  );
}

export function refusal(live: readonly (RemovedCredential & { readonly leases: number })[]): string {
  const total = live.reduce((sum, { leases }) => sum + leases, 0);
  const named = live
    .slice(0, namedAtMost)
    .map(({ organization, credential, leases }) => `${organization}: ${credential} (${leases})`)
    .join(', ');
  const more = live.length > namedAtMost ? ', …' : '';
  const what = total === 1 ? '1 live lease is' : `${total} live leases are`;
  return `${what} of credentials that this document removes: ${named}${more}. End them with it (end_leases), or wait.`;
}
