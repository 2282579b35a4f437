/** Follows a revocation until all of its leases have ended or time is up: asks how far it is, and which leases have ended since. */
import { http, mostRevokedLeases, type RevocationView, type RevokedLease } from '@mayfly/contracts';
import type { Session } from '../api/session.ts';
import type { Io } from '../io.ts';

export interface Listener {
  /** How far it is; at every look. */
  progress(revocation: RevocationView): void;
  /** A lease has ended; each once. Only when `eachLease` wants them. */
  ended(lease: RevokedLease): void;
}

export interface Followed {
  readonly revocation: RevocationView;
  /** The latest instant at which one of its leases may still work, of those that can't be ended at once. */
  readonly worksUntil: string | undefined;
}

const { getRevocation } = http.administration;

const lookEveryMs = 500;

/** @param timeoutSeconds how long to wait at most; what is told then is how far it was at the end. */
export async function followRevocation(
  io: Pick<Io, 'now' | 'pause'>,
  session: Session,
  revocationId: string,
  { timeoutSeconds, eachLease }: { timeoutSeconds: number; eachLease: (matched: number) => boolean },
  listener: Listener,
): Promise<Followed> {
  const deadline = io.now().getTime() + timeoutSeconds * 1000;
  const told = new Set<string>();
  const tell = (leases: readonly RevokedLease[]) => {
    for (const lease of leases) {
      if (lease.ended_at === undefined || told.has(lease.lease_id)) continue;
      told.add(lease.lease_id);
      listener.ended(lease);
    }
  };
  let after: string | undefined;
  for (;;) {
    const { revocation } = await session.call(getRevocation, { revocation_id: revocationId, limit: 0 });
    if (eachLease(revocation.matched) && revocation.matched > told.size) {
      for (let more = true; more;) {
        const page = await session.call(getRevocation, {
          revocation_id: revocationId,
          leases: 'ended',
          after,
          limit: mostRevokedLeases,
        });
        tell(page.leases);
        after = page.next ?? after;
        more = page.leases.length === mostRevokedLeases;
      }
    }
    listener.progress(revocation);
    if (revocation.status === 'done' || io.now().getTime() >= deadline) {
      const worksUntil = await readAll(session, revocation, eachLease(revocation.matched), tell);
      return { revocation, worksUntil };
    }
    await io.pause(lookEveryMs);
  }
}

/** All leases once more: two ends at one instant may become visible in another order than theirs. */
async function readAll(
  session: Session,
  revocation: RevocationView,
  wanted: boolean,
  tell: (leases: readonly RevokedLease[]) => void,
): Promise<string | undefined> {
  const { eventual, expiry_only } = revocation.by_revocability;
  if (!wanted && eventual + expiry_only === 0) return undefined;
  let worksUntil: string | undefined;
  let after: string | undefined;
  do {
    const page = await session.call(getRevocation, {
      revocation_id: revocation.revocation_id,
      after,
      limit: mostRevokedLeases,
    });
    if (wanted) tell(page.leases);
    for (const { by } of page.leases) {
      if (by !== undefined && (worksUntil === undefined || by > worksUntil)) worksUntil = by;
    }
    after = page.next;
  } while (after !== undefined);
  return worksUntil;
}
