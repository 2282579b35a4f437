/** Verifies the signature of checkpoints: `TokenVerifier` of `libs/tokens` for the kind `checkpoint` does. */
import type { CheckpointClaims } from '@mayfly/contracts';

export interface CheckpointVerifier {
  /** The claims, with `iat` in epoch seconds. Rejects whatever is not signed by a known key. */
  verify(
    token: string,
    options: { readonly now: Date },
  ): Promise<CheckpointClaims & { readonly iat: number }>;
}
