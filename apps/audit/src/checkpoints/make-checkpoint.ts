/**
 * Signs where the chain ends, in Postgres and in the file. The table comes first: a crash in between leaves a file that
 * lacks the newest checkpoint, which the next pass appends. The other way round would look like a removed one.
 */
import type { CheckpointClaims } from '@mayfly/contracts';
import type { TokenSigner } from '@mayfly/tokens';
import type { Pool } from 'pg';
import { addCheckpoint, checkpointsAfter } from '../store/checkpoints.ts';
import type { CheckpointFile } from './checkpoint-file.ts';

export class MakeCheckpoint {
  /** The newest checkpoint in the file, once it has been read. */
  #seqInFile: number | undefined;

  constructor(
    private readonly pool: Pool,
    private readonly signer: TokenSigner<CheckpointClaims>,
    private readonly file: CheckpointFile,
  ) {}

  async execute(now: Date): Promise<void> {
    await addCheckpoint(this.pool, now, (head) => this.signer.sign(head, { now }));
    this.#seqInFile ??= newestOf(await this.file.tokens());
    const missing = await checkpointsAfter(this.pool, this.#seqInFile);
    await this.file.append(missing.map(({ token }) => token));
    this.#seqInFile = missing.at(-1)?.seq ?? this.#seqInFile;
  }
}

/** Unverified: it only decides what to append, and a checkpoint too many is harmless. */
function newestOf(tokens: readonly string[]): number {
  const payload = tokens.at(-1)?.split('.')[1] ?? '';
  try {
    return (JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as { seq: number }).seq;
  } catch {
    return 0;
  }
}
