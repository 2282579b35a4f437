/** The databases that minting is connected to. One per connection URL; those unused for a while are let go. */
import { createHash } from 'node:crypto';
import { AdminDatabase, type AdminDatabaseLimits } from './admin-database.ts';
import type { TlsFiles } from './connecting/tls-files.ts';

/** Most databases kept at once. */
const maxKept = 256;
/** Those unused this long are let go, in milliseconds. */
const keepUnusedMs = 600_000;

interface Kept {
  readonly database: AdminDatabase;
  usedAt: number;
}

export class AdminDatabases {
  /** By the SHA-256 of URL and files: a rotated password or key makes another entry, and no URL is a key that could be printed. */
  readonly #kept = new Map<string, Kept>();

  constructor(private readonly limits: AdminDatabaseLimits) {}

  /** Throws ProviderRejected when `url` is no connection URL, or the files that it names are of no use. */
  open(url: string, files: TlsFiles = {}): AdminDatabase {
    const key = keyOf(url, files);
    const now = performance.now();
    const kept = this.#kept.get(key) ?? { database: new AdminDatabase(url, this.limits, files), usedAt: now };
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

function keyOf(url: string, { rootCert, cert, key }: TlsFiles): string {
  const hash = createHash('sha256');
  // With their lengths, so that no two of them can be told as one.
  for (const part of [url, rootCert, cert?.reveal(), key?.reveal()])
    hash.update(`${part?.length ?? 'none'}:${part ?? ''}`);
  return hash.digest('hex');
}
