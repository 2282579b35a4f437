/** Removing what has live leases takes saying so: without it the document is refused, with it they end first. */
import { bus, MayflyError, type AssertionClaims } from '@mayfly/contracts';
import type { Configuration } from '@mayfly/configuration';
import type { BusClient } from '@mayfly/messaging';
import type { TokenSigner } from '@mayfly/tokens';
import type { Pool } from 'pg';
import { signAssertion } from '../authorization/sign-assertion.ts';
import type { Session } from '../sessions/session.ts';
import { countLiveReservations } from '../store/reservations.ts';
import { removedCredentials, subjectsOf, type RemovedCredential } from './removed.ts';

export interface EndRemovedLeasesParts {
  readonly client: Pick<BusClient, 'call'>;
  readonly assertions: TokenSigner<AssertionClaims>;
  readonly pool: Pool;
}

/** Most that a refusal names. */
const namedAtMost = 5;

export class EndRemovedLeases {
  constructor(private readonly parts: EndRemovedLeasesParts) {}

  /** Throws `conflict` when leases of what `after` removes may still work, unless `endLeases`: then their end is durable. */
  async before(
    running: Configuration,
    after: Configuration,
    administrator: Session,
    endLeases: boolean,
  ): Promise<readonly RemovedCredential[]> {
    const removed = removedCredentials(running, after);
    if (removed.length === 0) return [];
    const live = await countLiveReservations(this.parts.pool, removed);
    if (live.length === 0) return [];
    if (!endLeases) throw new MayflyError('conflict', refusal(live));
    const ended = live.map(({ organization, credential }) => ({ organization, credential }));
    await this.end(ended, after, administrator);
    return ended;
  }

  /** Each by an assertion for its organization, since a platform administrator speaks for all of them. */
  async end(
    removed: readonly RemovedCredential[],
    after: Configuration,
    administrator: Session,
  ): Promise<void> {
    for (const { organization, subject } of subjectsOf(removed, after)) {
      const assertion = await signAssertion(
        this.parts.assertions,
        { ...administrator, organization, kind: 'person', personRoles: ['administrator'] },
        { action: 'revoke', subject, reason: 'removed from the configuration' },
      );
      await this.parts.client.call(bus.revocation.revoke, { assertion });
    }
  }
}

function refusal(live: readonly (RemovedCredential & { readonly leases: number })[]): string {
  const total = live.reduce((sum, { leases }) => sum + leases, 0);
  const named = live
    .slice(0, namedAtMost)
    .map(({ organization, credential, leases }) => `${organization}: ${credential} (${leases})`)
    .join(', ');
  const more = live.length > namedAtMost ? ', …' : '';
  const what = total === 1 ? '1 live lease is' : `${total} live leases are`;
  return `${what} of credentials that this document removes: ${named}${more}. End them with it (end_leases), or wait.`;
}
