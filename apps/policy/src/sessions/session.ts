/** A session as decisions see it: facts from verified claims alone. */
import type { Actor, PersonRole, RecipientKey } from '@mayfly/contracts';
import type { z } from 'zod';

export interface Session {
  /** UUIDv7. */
  readonly id: string;
  readonly organization: string;
  /** SPIFFE ID. */
  readonly agentId: string;
  readonly kind: 'agent' | 'person';
  readonly agentRole?: string;
  /** Empty for agents. */
  readonly personRoles: readonly PersonRole[];
  /** The human on whose behalf the agent acts; for a person, that person. */
  readonly user?: string;
  readonly task?: string;
  /** Secrets of this session are sealed to it. */
  readonly recipientKey?: RecipientKey;
  readonly expiresAt: Date;
}

/** Whose act it is, in the form of grants, assertions and events. */
export function actorOf(session: Omit<Session, 'expiresAt'>): z.infer<typeof Actor> {
  return {
    organization: session.organization,
    session_id: session.id,
    agent_id: session.agentId,
    ...(session.agentRole === undefined ? {} : { agent_role: session.agentRole }),
    ...(session.user === undefined ? {} : { user: session.user }),
    ...(session.task === undefined ? {} : { task: session.task }),
  };
}
