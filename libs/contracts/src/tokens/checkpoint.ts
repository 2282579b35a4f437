/**
 * Audit's signed statement of where the chain of its log ended: EdDSA JWS, `typ` `mayfly-checkpoint+jwt`. It never expires: it is
 * evidence.
 */
import { z } from 'zod';

export const CheckpointClaims = z.strictObject({
  /** The last row then. */
  seq: z.int().min(1),
  /** Its hash, hex. */
  hash: z.string().regex(/^[0-9a-f]{64}$/),
});
export type CheckpointClaims = z.infer<typeof CheckpointClaims>;
