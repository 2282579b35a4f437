/**
 * How far the log has been verified, in a file beside that of the checkpoints, so outside Postgres: whoever could change the log could
 * also move this on past what was changed. Without it, or when it can't be read, the whole log is verified.
 */
import { open, readFile, rename } from 'node:fs/promises';
import type { VerifiedThrough } from '@mayfly/audit-log';
import { z } from 'zod';

const Sha256 = z.string().regex(/^[0-9a-f]{64}$/);

const Recorded = z.strictObject({
  row: z.strictObject({ seq: z.int().min(0), hash: Sha256 }),
  checkpoint: Sha256.optional(),
  file_bytes: z.int().min(0),
  /** When the log was last found intact up to there; epoch milliseconds. */
  at: z.int(),
  /** When the whole log was; absent when it has to be verified whole at the next opportunity. */
  full_at: z.int().optional(),
});

export interface VerificationState {
  readonly through: VerifiedThrough;
  readonly at: Date;
  readonly fullAt: Date | undefined;
}

export class VerificationRecord {
  constructor(private readonly path: string) {}

  async read(): Promise<VerificationState | undefined> {
    const text = await readFile(this.path, 'utf8').catch(() => undefined);
    if (text === undefined) return undefined;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return undefined;
    }
    const parsed = Recorded.safeParse(value);
    if (!parsed.success) return undefined;
    const { row, checkpoint, file_bytes, at, full_at } = parsed.data;
    return {
      through: { row, checkpoint, fileBytes: file_bytes },
      at: new Date(at),
      fullAt: full_at === undefined ? undefined : new Date(full_at),
    };
  }

  /** All or nothing: a crash leaves the one before. */
  async write({ through, at, fullAt }: VerificationState): Promise<void> {
    const recorded = {
      row: through.row,
      ...(through.checkpoint !== undefined && { checkpoint: through.checkpoint }),
      file_bytes: through.fileBytes,
      at: at.getTime(),
      ...(fullAt !== undefined && { full_at: fullAt.getTime() }),
    };
    const next = `${this.path}.next`;
    const file = await open(next, 'w', 0o600);
    try {
      await file.write(`${JSON.stringify(recorded)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(next, this.path);
  }
}
