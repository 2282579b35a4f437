/** Revocations and their leases as administrators see them. Pure. */
import { MayflyError, Uuid, type RevocationView, type RevokedLease } from '@mayfly/contracts';
import { endOutcome } from '../ends/outcome.ts';
import type {
  LeaseOfRevocation,
  LeasePlace,
  LeaseSelection,
  RevocationProgress,
} from '../store/revocation-views.ts';
import { everyOrganization } from '../store/revocations.ts';

/** Whether all of its leases have ended; the register may not have noted it yet. */
export function isDone(revocation: RevocationProgress): boolean {
  return (
    revocation.doneAt !== undefined ||
    (revocation.gatheredAt !== undefined && revocation.pending + revocation.failing === 0)
  );
}

export function revocationView(revocation: RevocationProgress): RevocationView {
  const { immediate, eventual, expiryOnly, pending, failing, doneAt } = revocation;
  const matched = immediate + eventual + expiryOnly;
  return {
    revocation_id: revocation.revocationId,
    subject: revocation.subject,
    reason: revocation.reason,
    asked_by: revocation.askedBy,
    asked_at: revocation.askedAt.toISOString(),
    status: isDone(revocation) ? 'done' : revocation.gatheredAt === undefined ? 'gathering' : 'ending',
    ...(doneAt !== undefined && { done_at: doneAt.toISOString() }),
    matched,
    by_revocability: { immediate, eventual, expiry_only: expiryOnly },
    revoked: matched - pending - failing,
    pending,
    failing,
  };
}

export function leaseView(
  { organization }: Pick<RevocationProgress, 'organization'>,
  lease: LeaseOfRevocation,
): RevokedLease {
  const told = endOutcome(lease, lease.endedAt);
  return {
    ...told,
    ...(lease.isFailing && told.outcome === 'ending' && { outcome: 'failing' as const }),
    ...(organization === everyOrganization && { organization: lease.organization }),
    credential: lease.credential,
    agent_id: lease.agentId,
    ...(lease.endedAt !== undefined && { ended_at: lease.endedAt.toISOString() }),
  };
}

const endPlace = /^([12]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)_(.+)$/;

/** Reads where the page before ended. Throws `invalid_request` for what is no such place. */
export function placeOf(selection: LeaseSelection, text: string): LeasePlace {
  const match = selection === 'ended' ? endPlace.exec(text) : [text, '', text];
  const [, endedAt = '', leaseId = ''] = match ?? [];
  const isInstant = selection !== 'ended' || !Number.isNaN(Date.parse(endedAt));
  if (!isInstant || !Uuid.safeParse(leaseId).success) {
    throw new MayflyError('invalid_request', 'after must be `next` of the page before.');
  }
  return { leaseId, ...(selection === 'ended' && { endedAt }) };
}

export function placeText({ leaseId, endedAt }: LeasePlace): string {
  return endedAt === undefined ? leaseId : `${endedAt}_${leaseId}`;
}
