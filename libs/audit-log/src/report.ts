/** What a verification says when it is done. */
import type { ChainPosition, Finding } from '@mayfly/domain';

/** More findings than these are counted and not told one by one: somebody may have changed every row. */
export const mostFindings = 200;

/** Collects findings, bounded. */
export class Findings {
  readonly #found: Finding[] = [];
  #total = 0;
  readonly #byProblem = new Map<Finding['problem'], number>();

  add(...findings: readonly Finding[]): void {
    for (const finding of findings) {
      this.#total += 1;
      this.#byProblem.set(finding.problem, (this.#byProblem.get(finding.problem) ?? 0) + 1);
      if (this.#found.length < mostFindings) this.#found.push(finding);
    }
  }

  get all(): readonly Finding[] {
    return this.#found;
  }

  get total(): number {
    return this.#total;
  }

  /** How many of each problem. */
  get byProblem(): ReadonlyMap<Finding['problem'], number> {
    return this.#byProblem;
  }
}

/** How far a verification has come; a later one can go on from here. */
export interface VerifiedThrough {
  /** The last checkpoint that was good, and with it every row up to its own; the row is of the chain. */
  readonly row: ChainPosition;
  /** SHA-256 of that checkpoint's token, hex; undefined where there was none yet. */
  readonly checkpoint?: string | undefined;
  /** How much of the checkpoint file was read, in bytes. */
  readonly fileBytes: number;
}

export interface Report {
  readonly findings: Findings;
  /** The last row that was read. */
  readonly end: ChainPosition;
  /** Rows and checkpoints that this verification has read. */
  readonly rows: number;
  readonly checkpoints: number;
  /** Undefined where something was found. */
  readonly through?: VerifiedThrough;
}
