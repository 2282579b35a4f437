/**
 * Reminds minting of the upstreams at which leases live, so that each of its replicas holds a connection there for their ends before
 * it needs one, also after a restart: it has no memory of its own, and by the time that an end is due the leases may have taken every
 * connection that there is.
 *
 * It asks for the inspection of one lease of each upstream and does nothing with the answer. Calls are spread over the replicas of
 * minting by the bus. They take no places of ends and touch no breaker; what fails is left to the next pass.
 */
import { bus, MayflyError } from '@mayfly/contracts';
import { providerDefinitions } from '@mayfly/domain';
import type { BusClient } from '@mayfly/messaging';
import { BackgroundLoop } from '@mayfly/service';
import type { Logger } from '@mayfly/telemetry';
import type { Pool } from 'pg';
import { findLivingUpstreams, type AfterUpstream } from '../store/attendance.ts';
import type { Lease } from '../store/lease.ts';

export interface AttendanceOptions {
  readonly pool: Pool;
  readonly client: Pick<BusClient, 'call'>;
  readonly logger: Pick<Logger, 'debug' | 'error'>;
  /** Between two passes. Milliseconds. */
  readonly everyMs: number;
}

/** Most upstreams of one pass; the next one goes on with those that follow. */
const mostAtOnce = 128;
/** How many are asked about at a time. */
const concurrency = 8;
/** How long an answer is waited for. Minting goes on without. Milliseconds. */
const answerMs = 2_000;
/** Before the first pass, and before the next one when minting was not there to be asked. Milliseconds. */
const soonMs = 1_000;

/** Those for whose leases minting keeps something. */
const attended = [...providerDefinitions.values()]
  .filter(({ keepsConnection }) => keepsConnection === true)
  .map(({ name }) => name);

export class Attendance {
  readonly #loop: BackgroundLoop;
  #after: AfterUpstream | undefined;
  #end: 'first' | 'last' = 'first';
  #hasBegun = false;
  #stopping = false;

  constructor(private readonly options: AttendanceOptions) {
    this.#loop = new BackgroundLoop({
      name: 'attendance',
      intervalMs: options.everyMs,
      logger: options.logger,
      pass: async () => {
        // The services start in any order.
        const isTooEarly = !this.#hasBegun;
        this.#hasBegun = true;
        return isTooEarly || !(await this.attend()) ? soonMs : undefined;
      },
    });
  }

  start(): void {
    this.#loop.start();
  }

  /** Ends after the calls under way. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#loop.stop();
  }

  /** One pass. False when there was nobody to ask. */
  async attend(): Promise<boolean> {
    const { leases, next } = await findLivingUpstreams(this.options.pool, {
      providers: attended,
      after: this.#after,
      most: mostAtOnce,
      end: this.#end,
    });
    const waiting = leases.values();
    let answered = leases.length === 0;
    const ask = async () => {
      for (const lease of waiting) {
        if (this.#stopping) return;
        if (await this.#inspect(lease)) answered = true;
      }
    };
    await Promise.all(Array.from({ length: concurrency }, ask));
    this.#after = next;
    if (next === undefined) this.#end = this.#end === 'first' ? 'last' : 'first';
    return answered;
  }

  /** False when minting was not there. */
  async #inspect({ leaseId, organization, integration, provider, handle }: Lease): Promise<boolean> {
    if (handle === undefined) return true;
    try {
      const lease = { lease_id: leaseId, organization, integration, provider, handle };
      await this.options.client.call(bus.minting.inspectAtProvider, lease, { timeoutMs: answerMs });
      return true;
    } catch (error) {
      this.options.logger.debug(
        { err: error, organization, integration },
        'an upstream could not be attended',
      );
      return !(error instanceof MayflyError && error.code === 'dependency_unavailable');
    }
  }
}
