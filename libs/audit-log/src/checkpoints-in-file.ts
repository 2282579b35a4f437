/**
 * The checkpoints outside Postgres, which whoever rules Postgres can't change: each must be there too, word for word, and the row that
 * it is of. This is what finds a log that was cut back together with its checkpoints.
 */
import { stat } from 'node:fs/promises';
import type { CheckpointClaims } from '@mayfly/contracts';
import type { Finding } from '@mayfly/domain';
import type { CheckpointVerifier } from './checkpoint-verifier.ts';
import { checkpointLines, type CheckpointLine } from './checkpoint-lines.ts';
import { checkpointDigest, rewritten } from './checkpoints-in-postgres.ts';
import type { LogSession } from './log-session.ts';

/** What Postgres has for the position of each line. */
const besides = `
  SELECT wanted.seq, (SELECT c.token FROM audit.checkpoint AS c WHERE c.seq = wanted.seq LIMIT 1) AS token,
         (SELECT encode(log.hash, 'hex') FROM audit.event_log AS log WHERE log.seq = wanted.seq LIMIT 1) AS row_hash
  FROM unnest($1::int8[]) AS wanted(seq)`;

/**
 * Replicas that write to one file write the same lines, mixed. So many of the last are remembered when it is looked whether the one
 * before a line is there.
 */
const remembered = 20_000;

/** For a line whose predecessor has been forgotten, or lies before where reading began. */
const predecessor =
  'SELECT c.token FROM audit.checkpoint AS c WHERE c.seq < $1::int8 ORDER BY c.seq DESC LIMIT 1';

export interface FileRead {
  /** Bytes up to the end of the last whole line. */
  readonly end: number;
  readonly count: number;
}

export interface FileToRead {
  readonly path: string;
  /** Where an earlier verification has ended; 0 begins with the first line. Bytes. */
  readonly from: number;
  /** How long it has been already. Bytes. */
  readonly atLeast: number;
  /** Checkpoints in Postgres between these positions (the first not, the last included) have been verified. */
  readonly verified: { readonly after: number; readonly through: number };
  /** The last row of the log. */
  readonly lastRow: number;
}

/** Throws the error of the file system when there is no such file. */
export async function verifyCheckpointsInFile(
  session: LogSession,
  verifier: CheckpointVerifier,
  file: FileToRead,
  onBatch: (findings: readonly Finding[], count: number) => Promise<void>,
): Promise<FileRead> {
  const { size } = await stat(file.path);
  if (size < file.atLeast) {
    const detail = `The checkpoint file is shorter than it was: ${file.atLeast} bytes had been verified, ${size} are there.`;
    await onBatch([{ problem: 'truncated', object: 'checkpoint file', detail }], 0);
    return { end: size, count: 0 };
  }
  const reader = new LineReader(session, verifier, file);
  let [end, count] = [file.from, 0];
  for await (const lines of checkpointLines(file.path, file.from)) {
    const findings = await reader.take(lines);
    count += lines.length;
    end = lines.at(-1)?.end ?? end;
    await onBatch(findings, count);
  }
  await onBatch(reader.finish(), count);
  return { end, count };
}

class LineReader {
  readonly #digests = new Set<string>();
  /** Whether lines before these are known. */
  #forgetful: boolean;
  #isFirst: boolean;
  /** A line that is no checkpoint, until the next one tells whether it is the whole of what a crash has cut off. */
  #cutOff: CheckpointLine | undefined;
  /** The highest position of which the row is not there. */
  #beyond: number | undefined;

  constructor(
    private readonly session: LogSession,
    private readonly verifier: CheckpointVerifier,
    private readonly file: FileToRead,
  ) {
    this.#isFirst = file.from === 0;
    this.#forgetful = file.from > 0;
  }

  async take(lines: readonly CheckpointLine[]): Promise<Finding[]> {
    const wanted = lines.flatMap((line) => unverifiedSeq(line.token) ?? []);
    const rows = await this.session.rows<'seq' | 'token' | 'row_hash'>(besides, [[...new Set(wanted)]]);
    const bySeq = new Map(rows.map((row) => [Number(row.seq), row]));
    const findings: Finding[] = [];
    for (const line of lines) {
      const seq = unverifiedSeq(line.token);
      const there = seq === undefined ? undefined : bySeq.get(seq);
      findings.push(...(await this.#examine(line, there?.token ?? null, there?.row_hash ?? null)));
    }
    return findings;
  }

  /** What is only known at the end. */
  finish(): Finding[] {
    const findings = this.#cutOff === undefined ? [] : [notSigned(this.#cutOff)];
    if (this.#beyond === undefined) return findings;
    const { lastRow } = this.file;
    const detail = `Row ${lastRow + 1} and what follows is missing: the log ends at row ${lastRow}, and a checkpoint in the file has seen row ${this.#beyond}.`;
    return [{ problem: 'truncated', seq: lastRow + 1, detail }, ...findings];
  }

  async #examine(line: CheckpointLine, token: string | null, rowHash: string | null): Promise<Finding[]> {
    const claims = await this.#claimsOf(line, token);
    const findings: Finding[] = [];
    if (this.#cutOff !== undefined) {
      // Two crashes in a row cut the same line off twice.
      const isTheSame =
        line.token.startsWith(this.#cutOff.token) ||
        (claims === undefined && this.#cutOff.token.startsWith(line.token));
      if (!isTheSame) findings.push(notSigned(this.#cutOff));
      this.#cutOff = undefined;
    }
    if (claims === undefined) {
      this.#cutOff = line;
      return findings;
    }
    const { seq, hash, previous } = claims;
    const object = `checkpoint ${seq} in the file`;
    if (rowHash === null) {
      if (seq > this.file.lastRow) this.#beyond = Math.max(this.#beyond ?? 0, seq);
    } else if (rowHash !== hash) {
      findings.push(rewritten(seq, 'the file', hash, rowHash));
    } else if (token === null) {
      findings.push({
        problem: 'missing',
        seq,
        object,
        detail: `The ${object} is not in Postgres: it was removed there.`,
      });
    } else if (token !== line.token) {
      const detail = `The ${object} is another one than the one in Postgres: one row was signed twice, by two logs.`;
      findings.push({ problem: 'changed', seq, object, detail });
    }
    if (previous !== undefined && !(await this.#follows(seq, previous))) {
      const detail = `The ${object} does not follow the one that it names: lines before it were removed.`;
      findings.push({ problem: 'missing', seq, object, detail });
    }
    this.#remember(checkpointDigest(line.token));
    return findings;
  }

  async #follows(seq: number, previous: string): Promise<boolean> {
    if (this.#isFirst || this.#digests.has(previous)) return true;
    if (!this.#forgetful) return false;
    const [row] = await this.session.rows<'token'>(predecessor, [seq]);
    return checkpointDigest(row?.token ?? '') === previous;
  }

  /** The signature was verified with the one in Postgres if the two are the same. */
  async #claimsOf(
    { token }: CheckpointLine,
    inPostgres: string | null,
  ): Promise<CheckpointClaims | undefined> {
    const seq = unverifiedSeq(token);
    if (seq === undefined) return undefined;
    const { after, through } = this.file.verified;
    if (token === inPostgres && seq > after && seq <= through) return claimsWithin(token);
    return this.verifier.verify(token, { now: new Date() }).catch(() => undefined);
  }

  #remember(digest: string): void {
    this.#isFirst = false;
    this.#digests.add(digest);
    if (this.#digests.size <= remembered) return;
    const [oldest] = this.#digests;
    if (oldest !== undefined) this.#digests.delete(oldest);
    this.#forgetful = true;
  }
}

function notSigned({ number }: CheckpointLine): Finding {
  return {
    problem: 'changed',
    object: `line ${number} of the checkpoint file`,
    detail: `Line ${number} of the checkpoint file is not signed by a key of the key file: it was changed or added, or the keys are others.`,
  };
}

function claimsWithin(token: string): CheckpointClaims | undefined {
  try {
    const payload = Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8');
    return JSON.parse(payload) as CheckpointClaims;
  } catch {
    return undefined;
  }
}

/** The position that a token names, before its signature is looked at; undefined when it names none. */
function unverifiedSeq(token: string): number | undefined {
  const seq = (claimsWithin(token) as { seq?: unknown } | null | undefined)?.seq;
  return typeof seq === 'number' && Number.isSafeInteger(seq) ? seq : undefined;
}
