/**
 * Finds ends that no event told: a stream may lose what it has acknowledged, and a lease whose end is not heard of would count
 * against limits for ever. The register, which knows, is asked about leases whose time must be over.
 */
import { bus } from '@mayfly/contracts';
import type { BusClient } from '@mayfly/messaging';
import type { Pool } from 'pg';
import { recordLeaseNews, takeOverdueReservations } from '../store/reservations.ts';

export interface LostEndsParts {
  readonly client: Pick<BusClient, 'call'>;
  readonly pool: Pool;
  /** The least time between two questions about one lease, over all replicas. Milliseconds. */
  readonly everyMs: number;
}

export class LostEnds {
  constructor(private readonly parts: LostEndsParts) {}

  /**
   * One batch; answers whether there may be more. What the register has not ended, and all of it when the register does not
   * answer, goes on counting (I10). Throws `dependency_unavailable`.
   */
  async find(): Promise<boolean> {
    const { client, pool, everyMs } = this.parts;
    const most = bus.revocation.mostAskedLeases;
    const lease_ids = await takeOverdueReservations(pool, everyMs, most);
    if (lease_ids.length === 0) return false;
    const { ended } = await client.call(bus.revocation.endedLeases, { lease_ids });
    const asked = new Set(lease_ids);
    // In the order of lease ids, as events are stored, so that both take their rows in the same order.
    const news = ended.filter((leaseId) => asked.has(leaseId)).sort();
    await recordLeaseNews(
      pool,
      news.map((leaseId) => ({ leaseId, issued: false, ended: true })),
    );
    return lease_ids.length === most;
  }
}
