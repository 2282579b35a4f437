/** zod's issues as sentences that say what to do and never repeat a value: a value in the wrong place may be a secret. */
import { z } from 'zod';
import { showKey, type Path, type Problems } from './problems.ts';
import { didYouMean } from './suggest.ts';
import type { PlainValue } from './yaml.ts';

type Issue = z.core.$ZodIssue;

/** Keys of a strict or loose object schema. */
export function keysOf(schema: z.ZodType): string[] {
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
}

/** Parses a part of the document; what is wrong goes to `problems` under `path`. */
export function parsePart<T>(
  schema: z.ZodType<T>,
  value: unknown,
  path: Path,
  problems: Problems,
): T | undefined {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  reportIssues(parsed.error.issues, value, path, problems, schema);
  return undefined;
}

function reportIssues(
  issues: readonly Issue[],
  value: unknown,
  path: Path,
  problems: Problems,
  schema: z.ZodType,
): void {
  for (const issue of issues) {
    const at = [...path, ...issue.path.filter((part) => typeof part !== 'symbol')];
    if (issue.code === 'unrecognized_keys') {
      const candidates = keysOf(schemaAt(schema, issue.path));
      for (const key of issue.keys) problems.add([...at, key], unknownKey(key, candidates));
    } else {
      const present = valueAt(value, issue.path);
      problems.add(at, `${subject(at)} ${predicate(issue, present)}`);
    }
  }
}

/** The schema of a part, through objects and optional keys; the schema itself where the way is lost. */
function schemaAt(schema: z.ZodType, path: readonly PropertyKey[]): z.ZodType {
  let current: unknown = schema;
  for (const part of path) {
    while (current instanceof z.ZodOptional) current = current.unwrap();
    if (!(current instanceof z.ZodObject) || typeof part !== 'string') return z.unknown();
    current = (current.shape as Record<string, unknown>)[part];
  }
  while (current instanceof z.ZodOptional) current = current.unwrap();
  return current instanceof z.ZodType ? current : z.unknown();
}

/** For a key that nothing reads. */
export function unknownKey(key: string, known: readonly string[]): string {
  const hint = didYouMean(key, known);
  const instead =
    hint !== '' ? hint : known.length > 0 ? `; remove it, or use one of: ${known.join(', ')}` : '; remove it';
  return `${showKey(key)} is not known here${instead}`;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (current, part) =>
      typeof current === 'object' && current !== null && Object.hasOwn(current, part)
        ? (current as Record<PropertyKey, unknown>)[part]
        : undefined,
    value,
  );
}

function subject(path: Path): string {
  const last = path.at(-1);
  if (last === undefined) return 'the document';
  if (typeof last === 'string') return showKey(last);
  const list = path.findLast((part) => typeof part === 'string');
  return typeof list === 'string' ? `entry ${last + 1} of ${showKey(list)}` : `entry ${last + 1}`;
}

const typeNames: Readonly<Record<string, string>> = {
  array: 'a list',
  object: 'a map of keys and values',
  record: 'a map of keys and values',
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
};

function predicate(issue: Issue, present: unknown): string {
  switch (issue.code) {
    case 'invalid_type':
      if (present === undefined) return 'is missing; add it';
      if (present === null) return 'is empty; give it a value or remove it';
      return `must be ${typeNames[issue.expected] ?? issue.expected}`;
    case 'invalid_value': {
      const allowed = issue.values.map(String);
      if (present === undefined) return `is missing; use ${oneOf(allowed)}`;
      const hint = typeof present === 'string' && present.length <= 32 ? didYouMean(present, allowed) : '';
      return `must be ${oneOf(allowed)}${hint}`;
    }
    case 'too_small':
      return `must ${sizeOf(issue.origin, 'at least', Number(issue.minimum))}`;
    case 'too_big':
      return `must ${sizeOf(issue.origin, 'at most', Number(issue.maximum))}`;
    case 'invalid_key':
      return 'has a key that is too long or malformed';
    default:
      if (present === undefined) return 'is missing; add it';
      return issue.message;
  }
}

function oneOf(values: readonly string[]): string {
  return values.length === 1 ? (values[0] ?? '') : `one of ${values.join(', ')}`;
}

function sizeOf(origin: string, bound: string, size: number): string {
  if (origin === 'string') return `have ${bound} ${size} character${size === 1 ? '' : 's'}`;
  if (origin === 'array' || origin === 'set') return `have ${bound} ${size} entr${size === 1 ? 'y' : 'ies'}`;
  return `be ${bound} ${size}`;
}

/** A map of the document, or nothing where something else stands. */
export function asMap(value: PlainValue | undefined): Record<string, PlainValue> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
}
