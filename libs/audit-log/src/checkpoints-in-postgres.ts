/**
 * The checkpoints in Postgres: each signed, each column what its token says, each agreeing with the row that it is of, and each following
 * the one that it names. Runs after the rows were walked, so what a row's hash is has been established.
 */
import { createHash } from 'node:crypto';
import type { CheckpointClaims } from '@mayfly/contracts';
import { microsecondsOf, type Difference, type Finding } from '@mayfly/domain';
import type { CheckpointVerifier } from './checkpoint-verifier.ts';
import type { LogSession } from './log-session.ts';

const batchSize = 200;

const batchAfter = `
  SELECT c.seq, encode(c.hash, 'hex') AS hash, c.at, c.token,
         (SELECT encode(log.hash, 'hex') FROM audit.event_log AS log WHERE log.seq = c.seq LIMIT 1) AS row_hash
  FROM audit.checkpoint AS c WHERE c.seq > $1::int8 AND c.seq <= $2::int8 ORDER BY c.seq LIMIT ${batchSize}`;

type Column = 'seq' | 'hash' | 'at' | 'token' | 'row_hash';

/** What a checkpoint says that is the first of all. */
export const noCheckpoint = '0'.repeat(64);

/** How a checkpoint is named by the one after it. */
export function checkpointDigest(token: string): string {
  return createHash('sha256').update(token, 'latin1').digest('hex');
}

export interface SeenCheckpoint {
  readonly seq: number;
  readonly digest: string;
}

export interface CheckpointsRead {
  readonly count: number;
  /** The last that is there. */
  readonly last: SeenCheckpoint | undefined;
}

/**
 * @param after the checkpoint that an earlier verification has ended with; undefined begins with the first of all.
 * @param lastRow the last row that was walked; what is of rows after it is left to the next verification.
 * @param onBatch called between batches, with findings so far.
 */
export async function verifyCheckpointsInPostgres(
  session: LogSession,
  verifier: CheckpointVerifier,
  after: SeenCheckpoint | undefined,
  lastRow: number,
  onBatch: (findings: readonly Finding[], count: number) => Promise<void>,
): Promise<CheckpointsRead> {
  let last = after;
  let count = 0;
  // No checkpoint is of a row before the first; one that says so is to be seen.
  let position = after?.seq ?? Number.MIN_SAFE_INTEGER;
  for (;;) {
    const rows = await session.rows<Column>(batchAfter, [position, lastRow]);
    const findings: Finding[] = [];
    for (const row of rows) {
      findings.push(...(await examine(row, verifier, last)));
      position = Number(row.seq);
      last = { seq: position, digest: checkpointDigest(row.token ?? '') };
    }
    count += rows.length;
    await onBatch(findings, count);
    if (rows.length < batchSize) return { count, last };
  }
}

async function examine(
  row: Readonly<Record<Column, string | null>>,
  verifier: CheckpointVerifier,
  before: SeenCheckpoint | undefined,
): Promise<Finding[]> {
  const seq = Number(row.seq);
  const object = `checkpoint ${seq} in Postgres`;
  const claims = await verifier.verify(row.token ?? '', { now: new Date() }).catch(() => undefined);
  if (claims === undefined) {
    const detail = `The ${object} is not signed by a key of the key file: it was changed or added, or the keys are others.`;
    return [{ problem: 'changed', seq, object, detail }];
  }
  const findings: Finding[] = [];
  const differences = [...differencesOf(row, claims)];
  if (differences.length > 0) {
    const columns = differences.map(({ property }) => property).join(', ');
    const detail = `The ${object} says something else than its signed token: ${columns}.`;
    findings.push({ problem: 'changed', seq, object, differences, detail });
  }
  if (row.row_hash !== null && claims.seq === seq && claims.hash !== row.row_hash) {
    findings.push(rewritten(seq, 'Postgres', claims.hash, row.row_hash));
  }
  if (claims.previous !== undefined && claims.previous !== (before?.digest ?? noCheckpoint)) {
    const gap = before === undefined ? 'before it' : `between ${before.seq} and ${seq}`;
    const detail = `The ${object} does not follow the one that it names: checkpoints ${gap} were removed, or changed places.`;
    findings.push({ problem: 'missing', seq, object, detail });
  }
  return findings;
}

function* differencesOf(
  row: Readonly<Record<Column, string | null>>,
  claims: CheckpointClaims & { iat: number },
): Generator<Difference> {
  if (String(claims.seq) !== row.seq) yield { property: 'seq', expected: String(claims.seq), found: row.seq };
  if (claims.hash !== row.hash) yield { property: 'hash', expected: claims.hash, found: row.hash };
  const at = microsecondsOf(row.at ?? '');
  const fits =
    claims.at === undefined
      ? at !== undefined && at / 1_000_000n === BigInt(claims.iat)
      : at === microsecondsOf(claims.at);
  if (!fits) {
    const expected = claims.at ?? new Date(claims.iat * 1000).toISOString();
    yield { property: 'at', expected, found: row.at };
  }
}

/** A checkpoint and the row that it is of contradict each other. */
export function rewritten(seq: number, where: string, expected: string, found: string): Finding {
  return {
    problem: 'rewritten',
    seq,
    detail: `Row ${seq} or one before it was rewritten together with its hashes: a checkpoint in ${where} says otherwise.`,
    differences: [{ property: 'hash', expected, found }],
  };
}
