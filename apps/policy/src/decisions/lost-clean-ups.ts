/**
 * Finds clean-ups that are done and that no event told of: a stream may lose what it has acknowledged, or deliver out of order, and
 * a lease that is taken for not cleaned up after would count against its orchestration for ever. The register knows.
 */
import { bus } from '@mayfly/contracts';
import { recordCleanUpNews, takeLongFailingCleanUps } from '../store/failing-clean-ups.ts';
import type { LostEndsParts } from './lost-ends.ts';

export class LostCleanUps {
  constructor(private readonly parts: LostEndsParts) {}

  /**
   * One batch; answers whether there may be more. What is still pending, and all of it when the register does not answer, goes on
   * counting (I10). Throws `dependency_unavailable`.
   */
  async find(): Promise<boolean> {
    const { client, pool, everyMs } = this.parts;
    const most = bus.revocation.mostAskedLeases;
    const lease_ids = await takeLongFailingCleanUps(pool, everyMs, most);
    if (lease_ids.length === 0) return false;
    const pending = new Set((await client.call(bus.revocation.pendingCleanUps, { lease_ids })).pending);
    await recordCleanUpNews(pool, {
      failing: [],
      cleanedUp: lease_ids.filter((leaseId) => !pending.has(leaseId)).sort(),
    });
    return lease_ids.length === most;
  }
}
