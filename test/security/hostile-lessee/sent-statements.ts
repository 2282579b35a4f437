/** The SQL that the admin sends, from the server's own log. */
import { readFileSync } from 'node:fs';
import { waitUntil } from '@mayfly/stack';
import type { Upstream } from './upstream.ts';

/** Has the server log every statement of the admin, on connections that are made from now on. */
export async function logStatements(upstream: Upstream): Promise<void> {
  await upstream.asSuperuser(`ALTER ROLE ${upstream.admin} SET log_statement = 'all'`);
}

/** All that the admin has sent so far. */
export async function sentStatements(upstream: Upstream): Promise<string[]> {
  const { logFile } = upstream.server;
  // The log is written in order, so what comes before this is there when this is.
  const mark = `read up to ${crypto.randomUUID()}`;
  await upstream.asSuperuser(`DO $$ BEGIN RAISE LOG '${mark}'; END $$`);
  await waitUntil('the log', () => readFileSync(logFile, 'utf8').includes(mark), { deadlineMs: 5_000 });
  // An entry's further lines begin with a tab (log_line_prefix is set in servers.ts).
  const entries = readFileSync(logFile, 'utf8').split(/\n(?!\t)/);
  const statement = new RegExp(` \\[\\d+\\] ${upstream.admin} LOG:  (?:statement|execute [^:]*): ([^]*)`);
  return entries.flatMap((entry) => statement.exec(entry)?.[1] ?? []);
}

/** The words and the operators that texts consist of; also those in quotes, because what is in quotes may be executed. */
export function partsOf(texts: readonly string[]): { words: Set<string>; operators: Set<string> } {
  const parts = { words: new Set(impliedWords), operators: new Set(impliedOperators) };
  for (const text of texts) {
    for (const [word] of text.matchAll(/[a-z_][a-z0-9_]*/gi)) parts.words.add(word.toLowerCase());
    for (const [operator] of text.matchAll(/[-+*/<>=~!@#%^&|`?]+/g)) parts.operators.add(operator);
  }
  return parts;
}

/** What PostgreSQL's grammar makes of IN, ANY, CASE, NULLIF, BETWEEN, LIKE, DISTINCT (§9, "Comparison"), and of functions with words between their arguments. */
const impliedOperators = [
  '=',
  '<>',
  '<',
  '<=',
  '>',
  '>=',
  '~~',
  '!~~',
  '~~*',
  '!~~*',
  '||',
  '+',
  '-',
  '*',
  '/',
];
const impliedWords = [
  'extract',
  'date_part',
  'timezone',
  'position',
  'substring',
  'btrim',
  'ltrim',
  'rtrim',
  'overlay',
  'overlaps',
];
