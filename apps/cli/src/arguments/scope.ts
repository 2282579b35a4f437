/**
 * `--scope`: JSON, or the short form `privileges=SELECT,INSERT,schemas=public`, in which every key has a list of texts and
 * a part without a key belongs to the key before it. What is no list of texts is written as JSON.
 */
import { JsonObject } from '@mayfly/contracts';
import { InvalidArgumentError } from 'commander';

const keyed = /^([A-Za-z][A-Za-z0-9_]*)=(.*)$/s;

/** Throws InvalidArgumentError. */
export function parseScope(text: string): JsonObject {
  return text.trimStart().startsWith('{') ? parseJsonScope(text) : parseShortScope(text);
}

function parseJsonScope(text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new InvalidArgumentError('It begins like JSON but is not JSON.');
  }
  const parsed = JsonObject.safeParse(value);
  if (!parsed.success)
    throw new InvalidArgumentError(`The scope ${parsed.error.issues[0]?.message ?? 'is not valid'}.`);
  return parsed.data;
}

function parseShortScope(text: string): JsonObject {
  const lists = new Map<string, string[]>();
  let list: string[] | undefined;
  for (const part of text.split(',')) {
    const match = keyed.exec(part.trim());
    if (match !== null) {
      const key = match[1] ?? '';
      list = lists.get(key) ?? [];
      lists.set(key, list);
    }
    const value = match === null ? part.trim() : (match[2] ?? '');
    if (list === undefined || value === '') throw new InvalidArgumentError(example);
    list.push(value);
  }
  return Object.fromEntries(lists);
}

const example = 'A scope looks like privileges=SELECT,schemas=public or {"privileges":["SELECT"]}.';

/** The short form where it says the same, else JSON: what is printed can be given back to `--scope`. */
export function scopeText(scope: JsonObject): string {
  const short = Object.entries(scope)
    .map(([key, value]) => `${key}=${textsOf(value).join(',')}`)
    .join(',');
  try {
    if (JSON.stringify(parseShortScope(short)) === JSON.stringify(scope)) return short;
  } catch {
    // Not every scope has a short form.
  }
  return JSON.stringify(scope);
}

function textsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}
