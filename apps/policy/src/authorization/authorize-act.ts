/** Whether a session may do what another service will answer, and which services may accept the proof. Pure. */
import type { Act } from '@mayfly/contracts';
import type { Session } from '../sessions/session.ts';

export type Audience = 'mayfly-revocation' | 'mayfly-minting' | 'mayfly-audit';

export type Authorization =
  | { readonly outcome: 'authorized'; readonly audience: readonly Audience[] }
  /** `reason` may be shown to the asker. */
  | { readonly outcome: 'denied'; readonly reason: string };

/**
 * What concerns leases is open to every session: revocation shows and ends an agent's own leases only, and an
 * administrator's whole organization, by the actor and roles in the assertion.
 */
export function authorizeAct(
  session: Pick<Session, 'id' | 'organization' | 'kind' | 'personRoles'>,
  act: Act,
): Authorization {
  switch (act.action) {
    case 'list_leases':
    case 'read_lease':
    case 'end_lease':
    case 'report_use':
      return authorized('mayfly-revocation');
    case 'introspect':
      return authorized('mayfly-minting', 'mayfly-revocation');
    case 'end_session':
      return act.session_id === session.id
        ? authorized('mayfly-revocation')
        : denied('only the own session may be ended so');
    case 'revoke':
      if (act.subject.kind === 'everything') {
        return holds(session, 'platform_administrator')
          ? authorized('mayfly-revocation')
          : denied('only a platform administrator may revoke everything');
      }
      if (!holds(session, 'administrator')) return denied('only an administrator may revoke');
      // The same words for every other organization, whether it exists or not (I5).
      return act.subject.kind === 'organization' &&
        act.subject.id !== undefined &&
        act.subject.id !== session.organization
        ? denied('only the own organization may be revoked')
        : authorized('mayfly-revocation');
    case 'fence':
      return holds(session, 'administrator')
        ? authorized('mayfly-revocation')
        : denied('only an administrator may block');
    case 'list_revocations':
    case 'read_revocation':
      return holds(session, 'administrator') || holds(session, 'platform_administrator')
        ? authorized('mayfly-revocation')
        : denied('only an administrator may see revocations');
    case 'read_audit':
      return holds(session, 'auditor') || holds(session, 'administrator')
        ? authorized('mayfly-audit')
        : denied('only an auditor or administrator may read the audit log');
  }
}

/** A role counts for people alone, whatever a session's row says (I11). */
export function holds(
  session: Pick<Session, 'kind' | 'personRoles'>,
  role: Session['personRoles'][number],
): boolean {
  return session.kind === 'person' && session.personRoles.includes(role);
}

function authorized(...audience: Audience[]): Authorization {
  return { outcome: 'authorized', audience };
}

function denied(reason: string): Authorization {
  return { outcome: 'denied', reason };
}
