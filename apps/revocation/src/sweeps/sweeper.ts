/**
 * Compares what is there upstream, where a provider can list it, with the register: what no living lease stands for is removed
 * and told, and a lease whose thing is gone is ended. It only looks at what bears this installation's own mark.
 *
 * It keeps nothing: what could not be removed is found again by the next comparison.
 */
import { bus, MayflyError, type OutputOf } from '@mayfly/contracts';
import { madeAt } from '@mayfly/domain';
import { appendToOutbox, newEvent, type BusClient } from '@mayfly/messaging';
import { inTransaction } from '@mayfly/postgres';
import { BackgroundLoop } from '@mayfly/service';
import type { Logger } from '@mayfly/telemetry';
import type { Pool } from 'pg';
import type { Nudgeable } from '../activation/activate.ts';
import type { ProviderSlots } from '../ends/provider-slots.ts';
import { LeftAlone, type Upstreams } from '../ends/upstreams.ts';
import { leaseEvent } from '../lease-event.ts';
import { upstreamOf, type Lease } from '../store/lease.ts';
import {
  claimSweep,
  clock,
  endVanished,
  findStrays,
  findVanished,
  putOffSweep,
  type Expected,
} from '../store/sweep.ts';

export interface SweeperOptions {
  readonly pool: Pool;
  readonly client: Pick<BusClient, 'call'>;
  readonly slots: ProviderSlots;
  readonly upstreams: Upstreams;
  readonly relay: Nudgeable;
  readonly due: Nudgeable;
  readonly logger: Pick<Logger, 'warn' | 'error'>;
  /** Between two comparisons, over all replicas. Milliseconds. */
  readonly everyMs: number;
  /** How long a mint or an end may be under way without the register knowing all of it. Milliseconds. */
  readonly graceMs: number;
  /** Told of everything found, for metrics. */
  readonly onFound: (provider: string, found: 'stray' | 'vanished') => void;
}

type Sweep = OutputOf<typeof bus.policy.orderSweeps>['sweeps'][number];

const firstId = '00000000-0000-0000-0000-000000000000';
const lastId = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

/** Most leases read at once of those that are missing upstream. */
const missingAtOnce = 1_000;

/** How often it is looked whether a comparison is due, at most. Milliseconds. */
const longestLookMs = 10_000;

export class Sweeper {
  readonly #loop: BackgroundLoop;
  #stopping = false;

  constructor(private readonly options: SweeperOptions) {
    this.#loop = new BackgroundLoop({
      name: 'comparison with the upstreams',
      intervalMs: Math.min(options.everyMs, longestLookMs),
      logger: options.logger,
      pass: async () => {
        if (await claimSweep(options.pool, options.everyMs)) await this.#sweepOrPutOff();
        return undefined;
      },
    });
  }

  /** Services start in any order: without policy the comparison is made a little later. */
  async #sweepOrPutOff(): Promise<void> {
    const { pool, everyMs, logger } = this.options;
    try {
      await this.sweep();
    } catch (error) {
      if (!(error instanceof MayflyError) || error.code !== 'dependency_unavailable') throw error;
      await putOffSweep(pool, Math.min(everyMs, longestLookMs));
      logger.warn({ reason: error.reason }, 'the comparison with the upstreams is put off');
    }
  }

  start(): void {
    this.#loop.start();
  }

  /** Ends after the call under way. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#loop.stop();
  }

  /** All integrations of the running configuration. One that can't be listed now is passed over. */
  async sweep(): Promise<void> {
    let after: string | undefined;
    do {
      const page = await this.options.client.call(bus.policy.orderSweeps, { after });
      await Promise.all(page.sweeps.map((sweep) => this.#sweepOne(sweep, page.config_version)));
      after = page.next;
    } while (after !== undefined && !this.#stopping);
  }

  async #sweepOne(sweep: Sweep, configVersion: number): Promise<void> {
    const { pool, client, logger } = this.options;
    try {
      for (let after = firstId; !this.#stopping;) {
        const before = await clock(pool);
        const listed = await this.#atUpstream(sweep, () =>
          client.call(bus.minting.listAtProvider, {
            order: sweep.order,
            ...(after !== firstId && { after }),
          }),
        );
        if (listed.outcome === 'unlistable') return;
        const found = listed.lease_ids;
        const to = listed.more ? (found.at(-1) ?? lastId) : lastId;
        await this.#removeStrays(sweep, configVersion, found);
        await this.#endVanished({ ...sweep, from: after, to, found, before });
        if (!listed.more) return;
        after = to;
      }
    } catch (error) {
      const { organization, integration, provider } = sweep;
      logger.warn(
        { err: error, organization, integration, provider },
        'an integration could not be compared',
      );
    }
  }

  async #removeStrays(sweep: Sweep, configVersion: number, found: readonly string[]): Promise<void> {
    const { pool, logger, graceMs } = this.options;
    const { organization, integration, provider } = sweep;
    // The register hears of a mint a little later than it begins.
    const old = found.filter((leaseId) => madeAt(leaseId) < Date.now() - graceMs);
    for (const { leaseId, lease } of await findStrays(pool, old, graceMs)) {
      if (this.#stopping) return;
      const fields = { lease_id: leaseId, organization, integration, provider };
      try {
        await this.#remove(sweep, configVersion, leaseId, lease);
        logger.error(
          fields,
          'something of Mayfly that no living lease stands for was found upstream and removed',
        );
      } catch (error) {
        logger.error(
          { err: error, ...fields },
          'something of Mayfly was found upstream and could not be removed',
        );
      }
    }
  }

  async #remove(
    sweep: Sweep,
    configVersion: number,
    leaseId: string,
    lease: Lease | undefined,
  ): Promise<void> {
    const { pool, client, relay, onFound } = this.options;
    const { organization, integration, provider } = sweep;
    onFound(provider, 'stray');
    const { order } = await client.call(bus.policy.orderReconciliation, {
      lease_id: leaseId,
      organization,
      // Of an unknown one nobody can say which it was; the integration is all that it takes.
      credential: lease?.credential ?? `${integration}/unknown`,
      config_version: lease?.configVersion ?? configVersion,
    });
    await this.#atUpstream(sweep, () => client.call(bus.minting.reconcileAtProvider, { order }));
    const outcome = {
      reason: lease === undefined ? 'unknown_upstream' : 'left_upstream',
      outcome: 'removed',
    };
    const event =
      lease === undefined
        ? newEvent(
            'revocation',
            'credential.orphaned',
            { organization, lease_id: leaseId, integration, provider, ...outcome },
            { subject: leaseId },
          )
        : leaseEvent('credential.orphaned', lease, outcome);
    await inTransaction(pool, (connection) => appendToOutbox(connection, 'revocation', [event]));
    relay.nudge();
  }

  /** One that can't be inspected keeps none of the others from it; the next comparison looks for it again. */
  async #endVanished(expected: Sweep & Expected): Promise<void> {
    const { pool, logger, upstreams } = this.options;
    const { organization, integration, provider } = expected;
    let uninspected = 0;
    let lastError: unknown;
    for (let from: string | undefined = expected.from; from !== undefined && !this.#stopping;) {
      const missing: Lease[] = await findVanished(pool, { ...expected, from }, missingAtOnce);
      for (const lease of missing) {
        if (this.#stopping) return;
        try {
          await this.#endIfVanished(expected, lease);
        } catch (error) {
          // Nobody there to ask: the others would only fail the same way, each after a while.
          if (error instanceof LeftAlone || upstreams.isMintingAway) throw error;
          uninspected++;
          lastError = error;
        }
      }
      from = missing.length < missingAtOnce ? undefined : missing.at(-1)?.leaseId;
    }
    if (uninspected === 0) return;
    logger.warn(
      { err: lastError, uninspected, organization, integration, provider },
      'some leases are missing upstream and could not be inspected; the next comparison looks for them again',
    );
  }

  async #endIfVanished(place: Sweep, lease: Lease): Promise<void> {
    const { pool, client, due, logger, onFound } = this.options;
    const { leaseId, organization, integration, provider, handle } = lease;
    if (handle === undefined) return;
    // By its own handle: the integration may lead to another place by now.
    const { outcome } = await this.#atUpstream(place, () =>
      client.call(bus.minting.inspectAtProvider, {
        lease_id: leaseId,
        organization,
        integration,
        provider,
        handle,
      }),
    );
    if (outcome !== 'absent' || !(await endVanished(pool, leaseId))) return;
    onFound(provider, 'vanished');
    logger.warn(
      { lease_id: leaseId, organization, integration },
      'what a lease stands for has gone upstream; it is ended',
    );
    due.nudge();
  }

  /** Within the same bounds as ends. */
  #atUpstream<T>(place: Pick<Sweep, 'organization' | 'integration'>, call: () => Promise<T>): Promise<T> {
    const { slots, upstreams } = this.options;
    return slots.run(upstreamOf(place), () => upstreams.attempt(place, call));
  }
}
