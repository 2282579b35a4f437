/** Stores what events tell about leases. Safe to repeat and in any order. */
import type { MayflyEvent } from '@mayfly/contracts';
import { failpoint } from '@mayfly/service';
import type { Pool } from 'pg';
import { recordLeaseNews } from '../store/reservations.ts';
import { leaseNewsOf } from './lease-news.ts';

export class LeaseRegister {
  constructor(private readonly pool: Pool) {}

  /** One statement per batch. */
  async record(events: readonly MayflyEvent[]): Promise<void> {
    const news = leaseNewsOf(events);
    failpoint('policy.leases.before');
    if (news.length > 0) await recordLeaseNews(this.pool, news);
    failpoint('policy.leases.committed');
  }
}
