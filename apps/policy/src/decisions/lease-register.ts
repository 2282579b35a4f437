/** Stores what events tell about leases. Safe to repeat and in any order. */
import type { MayflyEvent } from '@mayfly/contracts';
import { failpoint } from '@mayfly/service';
import type { Pool } from 'pg';
import { recordCleanUpNews } from '../store/failing-clean-ups.ts';
import { recordLeaseNews } from '../store/reservations.ts';
import { cleanUpNewsOf } from './clean-up-news.ts';
import { leaseNewsOf } from './lease-news.ts';

export class LeaseRegister {
  constructor(private readonly pool: Pool) {}

  /** A few statements per batch. */
  async record(events: readonly MayflyEvent[]): Promise<void> {
    const news = leaseNewsOf(events);
    failpoint('policy.leases.before');
    if (news.length > 0) await recordLeaseNews(this.pool, news);
    await recordCleanUpNews(this.pool, cleanUpNewsOf(events));
    failpoint('policy.leases.committed');
  }
}
