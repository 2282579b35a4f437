/** Events of blocks. */
import type { EventData, MayflyEvent } from '@mayfly/contracts';
import { policyEvent } from '../reporting/events.ts';
import type { StoredBlock } from '../store/blocks.ts';

/**
 * A block that is added orders revocation, by its event, to fence its subject, and with `revocation_id` in `about` to end what
 * it holds under that id.
 * @param about who caused it; nobody did when its time was over.
 */
export function blockEvent(
  type: 'block.added' | 'block.removed',
  block: StoredBlock,
  about: EventData,
): MayflyEvent {
  return policyEvent(
    type,
    {
      organization: block.organization,
      block_id: block.id,
      reason: block.reason,
      ...(block.until === undefined ? {} : { expires_at: block.until.toISOString() }),
      action_context: { subject: block.subject },
      ...about,
    },
    { subject: block.id },
  );
}
