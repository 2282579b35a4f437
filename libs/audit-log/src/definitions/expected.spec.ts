import { describe, expect, it } from '@jest/globals';
import { derivedColumnNames } from '@mayfly/domain';
import { compareDefinitions } from './compare.ts';
import { expectedObjects } from './expected.ts';
import type { Fact } from './facts.ts';

const versions = [13, 14, 15, 16, 17, 18];

/** What a database says that is as it should be, with these months. */
async function factsOf(version: number, months: readonly string[]): Promise<Fact[]> {
  const objects = (await expectedObjects(version)) ?? new Map<string, Map<string, string>>();
  const bounds = `'2030-12-01 00:00:00+00') TO ('2031-01-01 00:00:00+00'`;
  return [...objects].flatMap(([object, properties]) =>
    (object.includes('{month}') ? months : ['']).flatMap((month) =>
      [...properties].map(([property, value]) => ({
        object: object.replaceAll('{month}', month),
        property,
        value: value.replaceAll('event_log_{month}', `event_log_${month}`).replace('{month}', bounds),
      })),
    ),
  );
}

describe('what the migrations make', () => {
  it.each(versions)(
    'is known for PostgreSQL %d, and computed columns are those that are computed here again',
    async (version) => {
      const objects = (await expectedObjects(version)) ?? new Map<string, Map<string, string>>();
      const computed = [...objects]
        .filter(
          ([object, properties]) =>
            object.startsWith('column audit.event_log.') && properties.has('computed'),
        )
        .map(([object]) => object.replace('column audit.event_log.', ''));
      expect(computed.sort()).toEqual([...derivedColumnNames].sort());
    },
  );

  it('is not known for a version that is not out yet', async () => {
    expect(await expectedObjects(99)).toBeUndefined();
  });

  it.each(versions)('differs from nothing when it is there, in PostgreSQL %d', async (version) => {
    const expected = (await expectedObjects(version)) ?? new Map<string, Map<string, string>>();
    expect(compareDefinitions(expected, await factsOf(version, ['2030_12']))).toEqual([]);
    expect(compareDefinitions(expected, await factsOf(version, []))).toEqual([]);
  });

  it('names what is missing, what is another, and what is not of the migrations', async () => {
    const expected = (await expectedObjects(18)) ?? new Map<string, Map<string, string>>();
    const facts = (await factsOf(18, ['2030_12']))
      .filter(({ object }) => object !== 'view audit.denials')
      .map((fact) =>
        fact.object === 'table audit.event_log_2030_12' && fact.property === 'bounds'
          ? { ...fact, value: 'DEFAULT' }
          : fact,
      );
    const extra = { object: 'rule r on audit.event_log', property: 'definition', value: 'x' };
    expect(compareDefinitions(expected, [...facts, extra]).map(({ detail }) => detail)).toEqual([
      'Rule r on audit.event_log is not of the migrations.',
      'Table audit.event_log_2030_12 is not what the migrations make: bounds.',
      'View audit.denials is missing.',
    ]);
  });

  it('tells a log of another version of Mayfly as such', async () => {
    const expected = (await expectedObjects(18)) ?? new Map<string, Map<string, string>>();
    const newer = { object: 'migration 9999_later', property: 'ran', value: 'yes' };
    expect(compareDefinitions(expected, [...(await factsOf(18, [])), newer])).toMatchObject([
      { problem: 'version' },
    ]);
  });
});
