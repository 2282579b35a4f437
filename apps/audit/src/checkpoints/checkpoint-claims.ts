/** What a checkpoint says. */
import { tokenKinds, type TokenKind } from '@mayfly/tokens';
import { z } from 'zod';

export const CheckpointClaims = z.strictObject({
  /** The last row then. */
  seq: z.int().min(1),
  /** Its hash, hex. */
  hash: z.string().regex(/^[0-9a-f]{64}$/),
});
export type CheckpointClaims = z.infer<typeof CheckpointClaims>;

export const checkpointKind: TokenKind<CheckpointClaims> = {
  ...tokenKinds.checkpoint,
  claims: CheckpointClaims,
};
