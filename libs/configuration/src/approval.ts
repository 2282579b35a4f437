/** Whether what needs a human's approval can get it. One rule for the decision and for the warning beforehand. */
import type { CredentialConfig } from './configuration.ts';

/** Whether a lease of the credential can come about without anybody's approval. This version has nobody to ask, so nothing else can. */
export function needsNoApproval({ approval }: Pick<CredentialConfig, 'approval'>): boolean {
  return approval === 'off';
}
