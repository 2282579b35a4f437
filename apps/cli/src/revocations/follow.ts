/** Follows a revocation until all of its leases have ended or time is up: asks how far it is, and which leases have ended since. */
import { mostRevokedLeases, type RevocationView, type RevokedLease } from '@mayfly/contracts';
import type { PatientReader } from './patient-reader.ts';

export interface Listener {
  /** How far it is; at every look. */
  progress(revocation: RevocationView): void;
  /** A lease has ended; each once. Only when `eachLease` wants them. */
  ended(lease: RevokedLease): void;
}

export interface Followed {
  readonly revocation: RevocationView;
  /** When all have ended: the latest instant at which one may still work, of those that can't be ended at once. */
  readonly worksUntil: string | undefined;
}

/** What is told at last is how far it was when all had ended, or when the reader's time was up. */
export async function followRevocation(
  reader: PatientReader,
  eachLease: (matched: number) => boolean,
  listener: Listener,
): Promise<Followed> {
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
    const { revocation } = await reader.read({ limit: 0 });
    if (eachLease(revocation.matched) && revocation.matched > told.size) {
      for (let more = true; more;) {
        const page = await reader.read({ leases: 'ended', after, limit: mostRevokedLeases });
        tell(page.leases);
        after = page.next ?? after;
        more = page.leases.length === mostRevokedLeases;
      }
    }
    listener.progress(revocation);
    if (revocation.status === 'done') {
      const worksUntil = await readAll(reader, revocation, eachLease(revocation.matched), tell);
      return { revocation, worksUntil };
    }
    if (reader.isTimeUp) return { revocation, worksUntil: undefined };
    await reader.pause();
  }
}

/** All leases once more: two ends at one instant may become visible in another order than theirs. */
async function readAll(
  reader: PatientReader,
  revocation: RevocationView,
  wanted: boolean,
  tell: (leases: readonly RevokedLease[]) => void,
): Promise<string | undefined> {
  const { eventual, expiry_only } = revocation.by_revocability;
  if (!wanted && eventual + expiry_only === 0) return undefined;
  let worksUntil: string | undefined;
  let after: string | undefined;
  do {
    const page = await reader.read({ after, limit: mostRevokedLeases });
    if (wanted) tell(page.leases);
    for (const { by } of page.leases) {
      if (by !== undefined && (worksUntil === undefined || by > worksUntil)) worksUntil = by;
    }
    after = page.next;
  } while (after !== undefined);
  return worksUntil;
}
