/**
 * Whether a human must say yes first. The place of approval in a decision: after policy permits, before limits are
 * touched. This version cannot ask anybody, so what needs approval is refused.
 */
import { needsNoApproval, type CredentialConfig } from '@mayfly/configuration';

export type ApprovalDecision =
  | { readonly outcome: 'not_needed' }
  /** `reason` may be shown to the asker. */
  | { readonly outcome: 'refused'; readonly reason: string };

export function decideApproval(credential: Pick<CredentialConfig, 'approval'>): ApprovalDecision {
  return needsNoApproval(credential)
    ? { outcome: 'not_needed' }
    : { outcome: 'refused', reason: 'needs approval, which this version cannot ask for yet' };
}
