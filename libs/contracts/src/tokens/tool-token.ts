/**
 * What the `jwt` provider mints: a token for one tool (RFC 9068 in spirit), verifiable from `/.well-known/jwks.json`
 * without asking Mayfly. `jti` is the lease id, so a tool that must know whether the lease still lives can introspect it.
 */
import { z } from 'zod';
import { AgentId, OrganizationId, text, Uuid } from '../primitives.ts';

export const ToolTokenClaims = z.strictObject({
  jti: Uuid,
  /** The agent's SPIFFE ID. */
  sub: AgentId,
  /** Space-separated `action:resource:identifier` (RFC 8693 §4.2). */
  scope: z.string().max(4096),
  /** RFC 8693 §4.1: the human on whose behalf the agent acts is the subject's principal. */
  act: z.object({ sub: text(2048) }).optional(),
  organization: OrganizationId,
  task: text(256).optional(),
  /** RFC 7800: the asker's key, as JWK thumbprint (RFC 9449 §6.1 form). */
  cnf: z.strictObject({ jkt: z.string().max(128) }).optional(),
});
export type ToolTokenClaims = z.infer<typeof ToolTokenClaims>;
