/** The token that an attested agent or person holds: EdDSA JWS, `typ` `mayfly-session+jwt`, at most one hour. */
import { z } from 'zod';
import {
  AgentId,
  HeartbeatSeconds,
  Name,
  OrganizationId,
  PersonRole,
  RecipientKey,
  text,
  User,
  Uuid,
} from '../primitives.ts';

export const SessionClaims = z.strictObject({
  /** The agent's SPIFFE ID. */
  sub: AgentId,
  /** Session id, UUIDv7. */
  sid: Uuid,
  organization: OrganizationId,
  kind: z.enum(['agent', 'person']),
  agent_role: Name.optional(),
  person_roles: z.array(PersonRole).optional(),
  /** The human on whose behalf the agent acts; for a person, that person. */
  user: User.optional(),
  /** The task of the agent's SPIFFE ID, verified. */
  task: text(256).optional(),
  /** Secrets of this session are sealed to it. Bound here so that a gateway captured later can't swap it. */
  recipient_key: RecipientKey.optional(),
  /** The session asked to be ended when it goes unheard for longer. */
  heartbeat_seconds: HeartbeatSeconds.optional(),
});
export type SessionClaims = z.infer<typeof SessionClaims>;
