/**
 * The databases that minting is connected to. One per connection URL; one is let go when it has been unused for a while and no lease
 * is known to live there, because the connection that it keeps for their ends goes with it.
 */
import { createHash } from 'node:crypto';
import { AdminDatabase, type AdminDatabaseLimits } from './admin-database.ts';
import type { TlsFiles } from './connecting/tls-files.ts';

/** Most databases kept at once, but for those where leases live. */
const maxKept = 256;
/** How long after its last use, and after the last lease there, a database is let go. Milliseconds. */
const keepUnusedMs = 600_000;
/** How often it is looked for those when nothing else asks for a database. Milliseconds. */
const lookMs = 60_000;

/** An integration as long as its reference is the same: what that leads to may change, as a password that is rotated does. */
export interface IntegrationAt {
  readonly organization: string;
  readonly integration: string;
  /** The secret reference. */
  readonly admin: string;
}

/** A database where leases of an integration live, as far as this process knows. */
export interface WithLeases {
  readonly at: IntegrationAt;
  readonly database: AdminDatabase;
}

interface Use {
  readonly at: IntegrationAt;
  /** When the last lease that is known of has ended at the latest, on the monotonic clock. */
  leasesUntil: number;
}

interface Kept {
  readonly database: AdminDatabase;
  usedAt: number;
  /** By integration. */
  readonly uses: Map<string, Use>;
}

export class AdminDatabases {
  /** By the SHA-256 of URL and files: a rotated password or key makes another entry, and no URL is a key that could be printed. */
  readonly #kept = new Map<string, Kept>();
  /** Which of them an integration uses now. */
  readonly #usedBy = new Map<string, string>();
  readonly #look: NodeJS.Timeout;

  /** @param now Milliseconds of a monotonic clock. */
  constructor(
    private readonly limits: AdminDatabaseLimits,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.#look = setInterval(() => this.#letGo(this.now()), lookMs).unref();
  }

  /** Throws ProviderRejected when `url` is no connection URL, or the files that it names are of no use. */
  open(url: string, files: TlsFiles = {}, at?: IntegrationAt): AdminDatabase {
    const key = keyOf(url, files);
    const now = this.now();
    const kept: Kept = this.#kept.get(key) ?? {
      database: new AdminDatabase(url, this.limits, files),
      usedAt: now,
      uses: new Map(),
    };
    kept.usedAt = now;
    // Last used, last in order.
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    if (at !== undefined) this.#use(at, key, kept);
    this.#letGo(now, key);
    return kept.database;
  }

  /** A lease of the integration lives for so long, where the integration leads to now. Milliseconds. */
  expectLease(at: IntegrationAt, forMs: number): void {
    const name = nameOf(at);
    const use = this.#kept.get(this.#usedBy.get(name) ?? '')?.uses.get(name);
    if (use !== undefined) use.leasesUntil = Math.max(use.leasesUntil, this.now() + forMs);
  }

  withLeases(): WithLeases[] {
    const now = this.now();
    return [...this.#kept.values()].flatMap(({ database, uses }) =>
      [...uses.values()].filter((use) => use.leasesUntil > now).map(({ at }) => ({ at, database })),
    );
  }

  async close(): Promise<void> {
    clearInterval(this.#look);
    const all = [...this.#kept.values()];
    this.#kept.clear();
    this.#usedBy.clear();
    await Promise.allSettled(all.map(({ database }) => database.close()));
  }

  /** Its leases are ended where its reference leads to now: what it led to before is of no use to them. */
  #use(at: IntegrationAt, key: string, kept: Kept): void {
    const name = nameOf(at);
    if (kept.uses.has(name)) return;
    const before = this.#kept.get(this.#usedBy.get(name) ?? '')?.uses;
    kept.uses.set(name, before?.get(name) ?? { at, leasesUntil: -Infinity });
    before?.delete(name);
    this.#usedBy.set(name, key);
  }

  /** @param asked The one that has just been asked for. */
  #letGo(now: number, asked?: string): void {
    for (const [key, kept] of this.#kept) {
      const tooMany = this.#kept.size > maxKept;
      if (!tooMany && now - kept.usedAt < keepUnusedMs) return;
      const leasesUntil = Math.max(...[...kept.uses.values()].map((use) => use.leasesUntil));
      if (leasesUntil > now || key === asked || (!tooMany && now - leasesUntil < keepUnusedMs)) continue;
      this.#kept.delete(key);
      for (const name of kept.uses.keys()) this.#usedBy.delete(name);
      // Ends when the queries under way have ended.
      kept.database.close().catch(() => undefined);
    }
  }
}

function nameOf({ organization, integration, admin }: IntegrationAt): string {
  return JSON.stringify([organization, integration, admin]);
}

function keyOf(url: string, { rootCert, cert, key }: TlsFiles): string {
  const hash = createHash('sha256');
  // With their lengths, so that no two of them can be told as one.
  for (const part of [url, rootCert, cert?.reveal(), key?.reveal()])
    hash.update(`${part?.length ?? 'none'}:${part ?? ''}`);
  return hash.digest('hex');
}
