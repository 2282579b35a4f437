/** Holds what is there against what the migrations make. Pure. */
import type { Difference, Finding } from '@mayfly/domain';
import type { Objects } from './expected.ts';
import type { Fact } from './facts.ts';

/** Name of the partition of a month; in what is expected, one stands for all of them. */
const month = /\bevent_log_(\d{4})_(\d{2})\b/;
const anyMonth = 'event_log_{month}';
const anyMonthBounds = '{month}';

/** A value longer than this is cut in a finding. */
const longestShown = 4_000;

/** Facts by object and property; those of the month partitions of a freshly made log, under one name. */
export function objectsOf(facts: readonly Fact[]): Map<string, Map<string, string>> {
  const objects = new Map<string, Map<string, string>>();
  for (const { object, property, value } of facts) {
    const there = objects.get(object) ?? new Map<string, string>();
    there.set(property, value);
    objects.set(object, there);
  }
  return objects;
}

/** One finding for each object that differs, is missing, or is not of the migrations. */
export function compareDefinitions(expected: Objects, facts: readonly Fact[]): Finding[] {
  const found = objectsOf(facts);
  const wanted = withMonths(expected, found);
  const findings: Finding[] = [];
  for (const object of [...new Set([...wanted.keys(), ...found.keys()])].sort()) {
    const [should, is] = [wanted.get(object), found.get(object)];
    const properties = [...new Set([...(should?.keys() ?? []), ...(is?.keys() ?? [])])].sort();
    const differences = properties
      .map((property): Difference => ({
        property,
        expected: shown(should?.get(property)),
        found: shown(is?.get(property)),
      }))
      .filter((difference) => should?.get(difference.property) !== is?.get(difference.property));
    if (differences.length > 0)
      findings.push(findingOf(object, should !== undefined, is !== undefined, differences));
  }
  return findings;
}

/** The expected objects, with those of a month for each month of which anything is there. */
function withMonths(expected: Objects, found: Objects): Objects {
  const months = new Set<string>();
  for (const object of found.keys()) {
    const name = month.exec(object)?.[0];
    if (name !== undefined && found.has(`table audit.${name}`)) months.add(name);
  }
  const objects = new Map<string, ReadonlyMap<string, string>>();
  for (const [object, properties] of expected) {
    if (!object.includes(anyMonth)) objects.set(object, properties);
    else for (const name of months) objects.set(object.replaceAll(anyMonth, name), inMonth(properties, name));
  }
  return objects;
}

function inMonth(properties: ReadonlyMap<string, string>, name: string): Map<string, string> {
  return new Map(
    [...properties].map(([property, value]) => [
      property,
      value.replaceAll(anyMonth, name).replaceAll(anyMonthBounds, boundsOf(name)),
    ]),
  );
}

/** `'2030-01-01 00:00:00+00') TO ('2030-02-01 00:00:00+00'`: what lies between the outer brackets. */
function boundsOf(name: string): string {
  const [, year = '', number = ''] = month.exec(name) ?? [];
  const first = Date.UTC(Number(year), Number(number) - 1, 1);
  const next = Date.UTC(Number(year), Number(number), 1);
  const text = (time: number) => new Date(time).toISOString().slice(0, 19).replace('T', ' ');
  return `'${text(first)}+00') TO ('${text(next)}+00'`;
}

/** The inverse, for whoever writes down what is expected: the facts of one month, in the words for any. */
export function forAnyMonth(fact: Fact, name: string): Fact {
  const general = (text: string) =>
    text.replaceAll(boundsOf(name), anyMonthBounds).replaceAll(name, anyMonth);
  return { object: general(fact.object), property: fact.property, value: general(fact.value) };
}

function findingOf(
  object: string,
  expected: boolean,
  found: boolean,
  differences: readonly Difference[],
): Finding {
  const names = differences.map(({ property }) => property).join(', ');
  if (object.startsWith('settings of ')) {
    const told = differences.map((each) => `${each.property} = ${each.found ?? 'nothing'}`).join(', ');
    return {
      problem: 'setting',
      object,
      differences,
      detail: `The ${object} change what queries see: ${told}.`,
    };
  }
  if (object.startsWith('migration ')) {
    const how = expected ? 'has not run' : 'is not known here';
    return {
      problem: 'version',
      object,
      differences,
      detail: `The ${object} ${how}: the log was made by another version of Mayfly; verify it with that one.`,
    };
  }
  const subject = `${object.charAt(0).toUpperCase()}${object.slice(1)}`;
  const how = !found
    ? 'is missing'
    : expected
      ? `is not what the migrations make: ${names}`
      : 'is not of the migrations';
  return { problem: 'definition', object, differences, detail: `${subject} ${how}.` };
}

function shown(value: string | undefined): string | null {
  if (value === undefined) return null;
  return value.length > longestShown ? `${value.slice(0, longestShown)}…` : value;
}
