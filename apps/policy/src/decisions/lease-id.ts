/** The id of a lease that is to be granted. */
import { leaseMark, withMark } from '@mayfly/domain';
import { v7 as uuidv7 } from 'uuid';

/**
 * A new UUIDv7 with the mark of this installation, organization and integration: what is made upstream under it is known as
 * one's own, and found again. Every grant needs one, those of successors too.
 */
export function newLeaseId(installation: string, organization: string, integration: string): string {
  return withMark(uuidv7(), leaseMark(installation, organization, integration));
}
