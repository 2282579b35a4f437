/**
 * The columns of the log that Postgres computes from the event, computed here once more. Queries filter by these columns, so a changed
 * one hides its row. Whoever adds a generated column in a migration adds it here; a test compares the two.
 */

/** What a generated column must hold, from the event as it was chained; null is SQL's NULL. */
export type Derivation = (event: unknown) => string | null;

/** By column name. Values are as Postgres prints them. */
export const derivedColumns = {
  type: (event) => textOf(event, 'type')?.replaceAll('dev.mayfly.', '').replaceAll('.v1', '') ?? null,
  organization: (event) => textOf(event, 'data', 'organization'),
  lease_id: (event) => uuidOf(event, 'data', 'lease_id'),
  session_id: (event) => uuidOf(event, 'data', 'session_id'),
  agent_id: (event) => textOf(event, 'data', 'agent_id'),
  trace_id: (event) => textOf(event, 'data', 'trace_id'),
} as const satisfies Readonly<Record<string, Derivation>>;

export type DerivedColumn = keyof typeof derivedColumns;

/** Names of the columns, in the order above. */
export const derivedColumnNames = Object.keys(derivedColumns) as readonly DerivedColumn[];

/** `->` and at last `->>`: a string is its text, JSON's null is NULL. The contract of events has nothing but strings there. */
function textOf(value: unknown, ...path: readonly string[]): string | null {
  for (const key of path) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
    value = (value as Readonly<Record<string, unknown>>)[key];
  }
  if (value === undefined || value === null) return null;
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** As type `uuid` prints it. */
function uuidOf(event: unknown, ...path: readonly string[]): string | null {
  return textOf(event, ...path)?.toLowerCase() ?? null;
}
