/** Applies a configuration document: all of it, or nothing. */
import {
  MayflyError,
  type bus,
  type ConfigProblem,
  type EventData,
  type InputOf,
  type OutputOf,
  type RemovalOrder,
} from '@mayfly/contracts';
import { parseConfiguration, type Configuration } from '@mayfly/configuration';
import { appendToOutbox, type OutboxRelay } from '@mayfly/messaging';
import { inTransaction } from '@mayfly/postgres';
import type { Pool, PoolClient } from 'pg';
import { policyEvent, type SignalReporter } from '../reporting/events.ts';
import type { SessionGate } from '../sessions/session-gate.ts';
import type { SessionLeases } from '../sessions/session-leases.ts';
import { actorOf, type Session } from '../sessions/session.ts';
import { endGroundlessSessions } from '../sessions/withdraw-sessions.ts';
import { lockConfigVersions, storeConfigVersion, type StoreOutcome } from '../store/config-versions.ts';
import { idsInNextVersion } from '../store/organizations.ts';
import { countLiveReservations, listLiveCredentials } from '../store/reservations.ts';
import { findProof } from '../store/session-proofs.ts';
import { identified } from './identified-configuration.ts';
import { requirePlatformAdministrator } from './platform-administrator.ts';
import { lockOutBy, type KeyJudge } from './lock-out.ts';
import { previewOf } from './preview-config.ts';
import { refusal, removalEvent, removalOrders } from './removal-orders.ts';
import { removedCredentials, type RemovedCredential } from './removed.ts';
import type { RunningConfiguration } from './running-configuration.ts';

type Stored = Exclude<StoreOutcome, { outcome: 'conflict' }>;
type Output = OutputOf<typeof bus.policy.applyConfig>;

interface Applied {
  readonly outcome: Stored;
  readonly orders: RemovalOrder[];
  /** The sessions that the document no longer admits. */
  readonly ended: readonly Session[];
}

export interface ApplyConfigParts {
  readonly gate: SessionGate;
  readonly running: RunningConfiguration;
  readonly signals: SignalReporter;
  readonly pool: Pool;
  readonly relay: Pick<OutboxRelay, 'nudge'>;
  readonly leases: Pick<SessionLeases, 'end'>;
  readonly keys: KeyJudge;
}

/** Whose document it is. */
export interface Applier {
  /** SPIFFE ID of an administrator, or `recovery`. */
  readonly by: string;
  /** Source address, or host and operating system user. */
  readonly from: string;
  /** What events tell of it. */
  readonly about: EventData;
}

/** Most revocations that the answer names; the events order them all. */
const namedAtMost = 100;

/** How often the removals are looked for anew because another document was applied meanwhile. */
const mostLooks = 3;

export class ApplyConfig {
  readonly #store: DocumentStore;

  constructor(private readonly parts: ApplyConfigParts) {
    this.#store = new DocumentStore(parts);
  }

  /**
   * Stores the document together with the ends of the sessions that it no longer admits and the orders to revoke what it removes, or
   * nothing at all; nobody is waited for. With `dry_run` it only tells what it would change. Throws `unauthenticated`, `policy_denied`,
   * or `conflict`: another version is running than the expected one, the document no longer admits who applies it, or leases of what it
   * removes may still work, and it was not said that this is meant.
   */
  async run(input: InputOf<typeof bus.policy.applyConfig>): Promise<Output> {
    const session = await this.parts.gate.liveSession(input.token);
    const actor = { ...actorOf(session), source_ip: input.source_ip };
    await requirePlatformAdministrator(session, 'apply_config', actor, this.parts.signals);

    const parsed = checkDocument(input.document);
    if (parsed.outcome === 'rejected') {
      if (input.dry_run === true) return { outcome: 'rejected', problems: parsed.problems.slice(0, 100) };
      await this.parts.signals.report('config.rejected', {
        ...actor,
        reason: parsed.problems.map(describe).join('; ') || 'the document is not valid',
        outcome: 'rejected',
      });
      return { outcome: 'rejected', problems: parsed.problems.slice(0, 100) };
    }

    // Before anything is locked: the keys of an issuer may have to be fetched.
    const proof = await findProof(this.parts.pool, session.id);
    const lockedOut = await lockOutBy(parsed.configuration, proof, this.parts.keys);
    if (input.dry_run === true) return previewOf(this.parts, input, parsed.configuration, lockedOut);
    if (lockedOut !== undefined && input.lock_me_out !== true) {
      throw new MayflyError(
        'conflict',
        `This document would lock you out (lock_me_out applies it all the same): ${lockedOut}`.slice(0, 500),
      );
    }

    const about = {
      ...actor,
      ...(lockedOut === undefined ? {} : { action_context: { locked_out: lockedOut } }),
    };
    const applier = { by: session.agentId, from: input.source_ip, about };
    const { outcome, orders, ended } = await this.#store.store(input, parsed.configuration, applier);
    this.parts.relay.nudge();
    this.parts.running.takeUp(outcome.stored, parsed.configuration);
    await this.parts.leases.end(ended);
    return {
      outcome: 'applied',
      version: outcome.stored.version,
      unchanged: outcome.outcome === 'unchanged',
      revocations: orders.slice(0, namedAtMost),
      revocations_total: orders.length,
      sessions_ended: ended.length,
    };
  }
}

/** The one way of a document into the store: with the ends, events and orders that follow from it, or not at all. */
export class DocumentStore {
  constructor(private readonly parts: Pick<ApplyConfigParts, 'pool' | 'running'>) {}

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
      const stored = await inTransaction(pool, async (client) => {
        const change = {
          before: before?.configuration,
          after,
          versionOf: (version: number) => running.versionOf(version),
        };
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
        if (error instanceof OutdatedLook) return undefined;
        throw error;
      });
      if (stored !== undefined) return stored;
    }
    throw new MayflyError('conflict', 'Other documents were applied at the same time.');
  }
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

/**
 * Applies the file of the first start, unless any version is stored: from then on administrators decide. Answers with
 * what is wrong with the document, if anything.
 */
export async function applyFirstDocument(
  pool: Pool,
  document: string,
  path: string,
): Promise<{ outcome: 'applied' | 'superseded' } | { outcome: 'rejected'; problems: ConfigProblem[] }> {
  const parsed = checkDocument(document);
  if (parsed.outcome === 'rejected') return parsed;
  const { outcome } = await inTransaction(pool, async (client) => {
    await lockConfigVersions(client);
    const organizations = [...parsed.configuration.organizations.values()];
    return storeWithEvent(client, {
      document,
      organizations,
      appliedBy: 'bootstrap',
      appliedFrom: path,
      expectedVersion: 0,
      about: {},
    });
  });
  return { outcome: outcome === 'stored' ? 'applied' : 'superseded' };
}

async function storeWithEvent(
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

/** Postgres stores no NUL, and no YAML has one. */
export function checkDocument(
  document: string,
): { outcome: 'ok'; configuration: Configuration } | { outcome: 'rejected'; problems: ConfigProblem[] } {
  if (document.includes('\0')) {
    return {
      outcome: 'rejected',
      problems: [{ path: '', message: 'the document contains a NUL character' }],
    };
  }
  return parseConfiguration(document);
}

function describe(problem: ConfigProblem): string {
  return `${problem.path}${problem.line === undefined ? '' : ` (line ${problem.line})`}: ${problem.message}`;
}
