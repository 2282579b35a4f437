/** A refusal because of a block. */
import type { CredentialConfig } from '@mayfly/configuration';
import { blockedReason } from '@mayfly/contracts';
import type { Pool } from 'pg';
import type { Session } from '../sessions/session.ts';
import { describeBlock, findBlock, readBlock } from '../store/blocks.ts';
import { deny, type Denial } from './decide-request.ts';

/** The asker learns that it is blocked; by what and why is for auditors. */
export async function blockedDenial(
  pool: Pool,
  { credential, policyIds }: { credential: CredentialConfig; policyIds: readonly string[] },
  session: Session,
): Promise<Denial> {
  const block = await findBlock(pool, {
    organization: session.organization,
    sessionId: session.id,
    agentId: session.agentId,
    user: session.user,
    credential: credential.name,
  });
  // Removed since: it was there at the decision.
  const why = block === undefined ? 'blocked' : describeBlock(block);
  return deny('policy_denied', blockedReason, { credential, policyIds, why });
}

/** The same for a renewal, by the block that was found: it may be of the session that the lease was granted in. */
export async function blockedRenewal(
  pool: Pool,
  { credential, policyIds }: { credential: CredentialConfig; policyIds: readonly string[] },
  organization: string,
  blockId: string,
): Promise<Denial> {
  const block = await readBlock(pool, organization, blockId);
  const why = block === undefined ? 'blocked' : describeBlock(block);
  return deny('policy_denied', blockedReason, { credential, policyIds, why });
}
