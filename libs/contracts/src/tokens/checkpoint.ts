/**
 * Audit's signed statement of where the chain of its log ended: EdDSA JWS, `typ` `mayfly-checkpoint+jwt`. It never expires: it is
 * evidence.
 */
import { z } from 'zod';
import { Instant } from '../primitives.ts';

const Sha256 = z.string().regex(/^[0-9a-f]{64}$/);

export const CheckpointClaims = z.strictObject({
  /** The last row then. */
  seq: z.int().min(1),
  /** Its hash, hex. */
  hash: Sha256,
  /** When it was signed, milliseconds; `iat` has whole seconds alone. Absent in those of before it was told. */
  at: Instant.optional(),
  /**
   * SHA-256 of the checkpoint before it (its compact JWS, ASCII), hex; 64 zeros in the first. So none can be taken out from between
   * two others unseen. Absent in those of before it was told.
   */
  previous: Sha256.optional(),
});
export type CheckpointClaims = z.infer<typeof CheckpointClaims>;
