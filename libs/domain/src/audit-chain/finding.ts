/** What a verification of the audit log finds wrong. */

/** The kind of what is wrong; also the label `kind` of metrics, so there are few of them. */
export const problems = [
  /** A row or a checkpoint is not what was written there. */
  'changed',
  /** A row or a checkpoint is not there. */
  'missing',
  /** A position is taken more than once. */
  'repeated',
  /** The log ends before a row that a witness outside it has seen. */
  'truncated',
  /** Rows were written anew with fitting hashes. */
  'rewritten',
  /** A row is there that the chain does not have, or an index leads queries past rows. */
  'hidden',
  /** A table, view, function, trigger, right or other object is not what the migrations make. */
  'definition',
  /** A setting of the database or of a role changes what queries see. */
  'setting',
  /** The log was made by another version of Mayfly, or runs on a Postgres whose definitions are not known here. */
  'version',
] as const;
export type Problem = (typeof problems)[number];

/** One property of an object that differs; null where there is none. */
export interface Difference {
  readonly property: string;
  readonly expected: string | null;
  readonly found: string | null;
}

export interface Finding {
  readonly problem: Problem;
  /** One sentence for people: what, and how it is wrong. */
  readonly detail: string;
  /** Position in the chain: the bad row, or where one is missing. */
  readonly seq?: number;
  /** Id of the event in that row. */
  readonly id?: string;
  /** What else is wrong, such as `view audit.events` or `checkpoint 17`. */
  readonly object?: string;
  readonly differences?: readonly Difference[];
}
