/**
 * Signs where the chain ends, in Postgres and in the file. The table comes first: a crash in between leaves a file that
 * lacks the newest checkpoint, which the next pass appends. The other way round would look like a removed one.
 *
 * What is in the file must be in the table. If it is not, the log was cut back together with its checkpoints (or restored from a
 * backup, or failed over to a standby that lacked the last of it), and nothing is signed any more: a checkpoint would vouch for a log
 * that is not the one that was signed before.
 */
import { checkpointDigest, noCheckpoint } from '@mayfly/audit-log';
import type { CheckpointClaims } from '@mayfly/contracts';
import type { TokenSigner } from '@mayfly/tokens';
import type { Pool } from 'pg';
import { addCheckpoint, checkpointOf, checkpointsAfter } from '../store/checkpoints.ts';
import type { CheckpointFile } from './checkpoint-file.ts';

/** Postgres does not have what the file has. */
export class CheckpointsContradict extends Error {
  constructor(seq: number) {
    super(
      `The newest checkpoint in the file, of row ${seq}, is not in Postgres: the log was cut back or restored. Nothing is signed until the ` +
        'file is put aside: docs/operations.md, "The audit log does not verify".',
    );
  }
}

interface InFile {
  readonly seq: number;
  /** Undefined while the file has none. */
  readonly token: string | undefined;
}

export class MakeCheckpoint {
  /** The newest checkpoint in the file, once it has been read. */
  #newest: InFile | undefined;

  constructor(
    private readonly pool: Pool,
    private readonly signer: TokenSigner<CheckpointClaims>,
    private readonly file: CheckpointFile,
  ) {}

  /** @throws CheckpointsContradict */
  async execute(now: Date): Promise<void> {
    const inFile = (this.#newest ??= positionOf(await this.file.newest()));
    if (inFile.token !== undefined && (await checkpointOf(this.pool, inFile.seq)) !== inFile.token) {
      // Read anew by the next pass, because the file may have been put aside.
      this.#newest = undefined;
      throw new CheckpointsContradict(inFile.seq);
    }
    await addCheckpoint(this.pool, now, ({ seq, hash, newest }) =>
      this.signer.sign(
        {
          seq,
          hash,
          at: now.toISOString(),
          previous: newest === undefined ? noCheckpoint : checkpointDigest(newest),
        },
        { now },
      ),
    );
    const missing = await checkpointsAfter(this.pool, inFile.seq);
    await this.file.append(missing.map(({ token }) => token));
    this.#newest = missing.at(-1) ?? inFile;
  }
}

/** Unverified: it only decides what to append, and with what Postgres is to agree. */
function positionOf(token: string | undefined): InFile {
  const payload = token?.split('.')[1] ?? '';
  try {
    return {
      seq: (JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as { seq: number }).seq,
      token,
    };
  } catch {
    return { seq: 0, token: undefined };
  }
}
