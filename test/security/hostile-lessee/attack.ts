/** What an entry of the table is. */
import type { Lessee } from './lessee.ts';
import type { Wish } from './provider-under-test.ts';
import type { AdminKind, Upstream } from './upstream.ts';

/** Who and what is there while an attack goes on. */
export interface Stage {
  /** The attacker, by the lease that is ended first. */
  readonly lessee: Lessee;
  /** Other leases of the attacker, which live on until the first one's end is over. */
  readonly accomplices: readonly Lessee[];
  /** Role names of honest leases of the same credential, as anybody can read them in `pg_roles`. */
  readonly neighbours: readonly string[];
  /** The group role that holds the scope of the first lease. */
  readonly group: string;
  readonly upstream: Upstream;
}

export interface Attack {
  readonly name: string;
  /** Major versions where it can be done at all. Default: all. */
  readonly from?: number;
  readonly to?: number;
  readonly admin?: AdminKind;
  /** The attacker's leases, the one that is ended first in front. Default: two of the bounds. */
  readonly leases?: readonly Wish[];
  /**
   * Does it, as leased roles. Resolves when it is in place, so that the ends meet it; what goes on is left to `Lessee.keep`. Rejects when it
   * could not be done: an attack that fails proves nothing.
   */
  readonly attack: (stage: Stage) => Promise<void>;
  /**
   * When its own end is bound to succeed. Default: at once. `after its statement`: a session that does not look at interrupts can't be cut,
   * nor what it has locked be had; the end may fail meanwhile, but what the lease could do must be over. `when it lets go`: nothing can be
   * done at the server meanwhile; the end must fail and not be told as done.
   */
  readonly ends?: 'after its statement' | 'when it lets go';
  /** What its clean-up may have to wait for, told as pending. Access never waits. Default: nothing. */
  readonly cleanUpWaitsFor?: 'accomplices';
  /** The clean-up of honest leases may have to wait for it too. */
  readonly holdsUpNeighbours?: boolean;
  /** A mint of a scope that nobody has had before may be refused while it goes on: soon, and not so the others. */
  readonly holdsUpNewScopes?: boolean;
  /** What is minted while it goes on may be refused: it can take what only a mint needs. */
  readonly mintsMayFail?: boolean;
  /** Anything else that has to be so when all is over: a sentence for each thing that is not. */
  readonly also?: (stage: Stage) => Promise<readonly string[]>;
}

/** Asserts, as part of an attack, that the server refuses each of some statements. */
export async function refused(lessee: Lessee, ...texts: string[]): Promise<void> {
  const session = await lessee.session();
  for (const text of texts) {
    const isRefused = await session.query(text).then(
      () => false,
      () => true,
    );
    if (!isRefused) throw new Error(`PostgreSQL lets a lease do this: ${text}`);
  }
  await session.leave();
}
