/** The databases that minting is connected to. One per connection URL; those unused for a while are let go. */
import { createHash } from 'node:crypto';
import { AdminDatabase, type AdminDatabaseLimits } from './admin-database.ts';

/** Most databases kept at once. */
const maxKept = 256;
/** Those unused this long are let go, in milliseconds. */
const keepUnusedMs = 600_000;

interface Kept {
  readonly database: AdminDatabase;
  usedAt: number;
}

export class AdminDatabases {
  /** By the URL's SHA-256: a rotated password makes another entry, and no URL is a key that could be printed. */
  readonly #kept = new Map<string, Kept>();

  constructor(private readonly limits: AdminDatabaseLimits) {}

  /** Throws ProviderRejected when `url` is no connection URL. */
  open(url: string): AdminDatabase {
    const key = createHash('sha256').update(url).digest('hex');
    const now = performance.now();
    const kept = this.#kept.get(key) ?? { database: new AdminDatabase(url, this.limits), usedAt: now };
    kept.usedAt = now;
    // Last used, last in order.
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    this.#letGo(now);
    return kept.database;
  }

  async close(): Promise<void> {
    const all = [...this.#kept.values()];
    this.#kept.clear();
    await Promise.allSettled(all.map(({ database }) => database.close()));
  }

  #letGo(now: number): void {
    for (const [key, { database, usedAt }] of this.#kept) {
      if (this.#kept.size <= maxKept && now - usedAt < keepUnusedMs) return;
      this.#kept.delete(key);
      // Ends when the queries under way have ended.
      database.close().catch(() => undefined);
    }
  }
}
