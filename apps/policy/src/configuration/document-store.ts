/** The one way of a configuration document into the store, whoever brings it: an administrator, a recovery, or the first start. */
import { MayflyError, type EventData, type RemovalOrder } from '@mayfly/contracts';
import type { Configuration } from '@mayfly/configuration';
import { appendToOutbox, remainingMs } from '@mayfly/messaging';
import { inTransaction } from '@mayfly/postgres';
import type { Pool, PoolClient } from 'pg';
import { policyEvent } from '../reporting/events.ts';
import { holdSession } from '../sessions/hold-session.ts';
import type { Session } from '../sessions/session.ts';
import { admittingVersions, endGroundlessSessions, UnknownAdmission } from '../sessions/withdraw-sessions.ts';
import { lockConfigVersions, storeConfigVersion, type StoreOutcome } from '../store/config-versions.ts';
import { idsInNextVersion } from '../store/organizations.ts';
import { holdOpenings } from '../store/session-ends.ts';
import { countLiveReservations, listLiveCredentials } from '../store/reservations.ts';
import { identified } from './identified-configuration.ts';
import { refusal, removalEvent, removalOrders } from './removal-orders.ts';
import { removedCredentials, type RemovedCredential } from './removed.ts';
import type { RunningConfiguration } from './running-configuration.ts';

export interface DocumentStoreParts {
  readonly pool: Pool;
  readonly running: RunningConfiguration;
}

type Stored = Exclude<StoreOutcome, { outcome: 'conflict' }>;

export interface Applied {
  readonly outcome: Stored;
  readonly orders: RemovalOrder[];
  /** The sessions that the document no longer admits. */
  readonly ended: readonly Session[];
}

/** Whose document it is. */
export interface Applier {
  /** SPIFFE ID of an administrator, or `recovery`. */
  readonly by: string;
  /** The session of the administrator; absent for a recovery, which has none. */
  readonly session?: Pick<Session, 'id'>;
  /** Source address, or host and operating system user. */
  readonly from: string;
  /** What events tell of it. */
  readonly about: EventData;
}

/** How often the removals are looked for anew because another document was applied meanwhile. */
const mostLooks = 3;

/** The one way of a document into the store: with the ends, events and orders that follow from it, or not at all. */
export class DocumentStore {
  constructor(private readonly parts: DocumentStoreParts) {}

  /**
   * Throws `conflict`, as for `ApplyConfig`. Whoever applies it has checked the document, and that it may, and has the leases of the
   * ended sessions ended at once. With `keepsSessions` none ends: the next document judges those by what admitted them.
   */
  async store(
    input: { document: string; expected_version?: number | undefined; end_leases: boolean },
    document: Configuration,
    applier: Applier,
    { keepsSessions = false }: { readonly keepsSessions?: boolean } = {},
  ): Promise<Applied> {
    const { pool, running } = this.parts;
    for (let look = 0; look < mostLooks; look++) {
      // Relative to the newest version, whichever replica has stored it; compared before the lock, so that it is held briefly.
      await running.refresh();
      const before = running.isLoaded() ? running.current() : undefined;
      const organizations = [...document.organizations.values()];
      const after = identified(document, await idsInNextVersion(pool, organizations));
      const removed = before === undefined ? [] : removedCredentials(before.configuration, after);
      const admitting = keepsSessions
        ? new Map<number, undefined>()
        : await admittingVersions(pool, running, before?.configuration);
      const stored = await inTransaction(pool, async (client) => {
        const change = {
          before: before?.configuration,
          after,
          admitting,
        };
        if (applier.session !== undefined) {
          // The keys of issuers may have been asked for since it was looked at, and others have removed it.
          await holdOpenings(client);
          await holdSession(client, applier.session);
          requireTimeLeft();
        }
        // Before the lock of the versions, which decisions wait for while they hold the rows of their sessions.
        const ended = keepsSessions ? [] : await endGroundlessSessions(client, change);
        const newest = await lockConfigVersions(client);
        if (before !== undefined && newest !== before.version) throw new OutdatedLook();
        const outcome = await storeWithEvent(client, {
          document: input.document,
          organizations,
          appliedBy: applier.by,
          appliedFrom: applier.from,
          keepsSessions,
          ...(input.expected_version === undefined ? {} : { expectedVersion: input.expected_version }),
          about: applier.about,
        });
        // Whoever expects another version has not seen what is removed.
        if (outcome.outcome === 'conflict') throw otherVersion(outcome.runningVersion);
        if (outcome.outcome === 'unchanged') return { outcome, orders: [], ended };
        // Nothing to compare with, since this release can't read the newest version: what lives tells what was there.
        const gone = before === undefined ? await liveOutside(client, after) : removed;
        if (!input.end_leases) {
          const live = await countLiveReservations(client, gone);
          if (live.length > 0) throw new MayflyError('conflict', refusal(live));
        }
        const orders = removalOrders(gone, after);
        const events = orders.map((order) => removalEvent(order, applier.about, outcome.stored.version));
        await appendToOutbox(client, 'policy', events);
        return { outcome, orders, ended };
      }).catch((error: unknown) => {
        if (error instanceof OutdatedLook || error instanceof UnknownAdmission) return undefined;
        throw error;
      });
      if (stored !== undefined) return stored;
    }
    throw new MayflyError('conflict', 'Other documents were applied at the same time.');
  }
}

/** Nobody waits for the answer any more: whoever asked has been told that it failed. */
function requireTimeLeft(): void {
  if (remainingMs() > 0) return;
  throw new MayflyError(
    'dependency_unavailable',
    'Checking the document took too long; nothing was applied.',
  );
}

/** Another document was applied since this one was compared with the running one: all is undone, and looked at again. */
class OutdatedLook extends Error {}

async function liveOutside(client: PoolClient, after: Configuration): Promise<RemovedCredential[]> {
  const live = await listLiveCredentials(client);
  return live.filter(
    ({ organization, credential }) => after.credential(organization, credential) === undefined,
  );
}

function otherVersion(running: number): MayflyError {
  return new MayflyError('conflict', `The running configuration is version ${running}.`);
}

/** Part of a transaction that has called `lockConfigVersions`. */
export async function storeWithEvent(
  client: PoolClient,
  wanted: Parameters<typeof storeConfigVersion>[1] & {
    readonly appliedFrom: string;
    readonly about: EventData;
  },
): Promise<StoreOutcome> {
  const outcome = await storeConfigVersion(client, wanted);
  if (outcome.outcome === 'stored') {
    const event = policyEvent('config.applied', {
      ...wanted.about,
      config_version: outcome.stored.version,
      outcome: 'applied',
      action_context: {
        ...wanted.about.action_context,
        applied_by: wanted.appliedBy,
        applied_from: wanted.appliedFrom,
      },
    });
    await appendToOutbox(client, 'policy', [event]);
  }
  return outcome;
}
