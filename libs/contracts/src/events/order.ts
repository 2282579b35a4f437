/** Orders of policy to revocation that travel as events: one schema, so that what policy writes is what revocation carries out. */
import { z } from 'zod';
import { AgentId, BlockSubject, OrganizationId, text, Uuid } from '../primitives.ts';

/** As who asked, for what `mayfly-policy recover` caused: it has the machine, and neither an agent nor a session. */
export const recoveryActor = 'recovery';

/** The part of the data of `block.added` and `config.removed` that is an order. */
export const OrderData = z
  .object({
    organization: OrganizationId,
    session_id: Uuid.optional(),
    agent_id: AgentId.optional(),
    reason: text(1024),
    /** Without it: a fence alone. */
    revocation_id: Uuid.optional(),
    action_context: z.object({
      subject: BlockSubject,
      /** Says that nobody's session asked. */
      applied_by: z.literal(recoveryActor).optional(),
    }),
  })
  .refine(
    ({ session_id, agent_id, action_context }) =>
      action_context.applied_by === recoveryActor
        ? session_id === undefined && agent_id === undefined
        : session_id !== undefined && agent_id !== undefined,
    'an order names the agent and the session of who asked, or is a recovery and names neither',
  );
export type OrderData = z.infer<typeof OrderData>;
