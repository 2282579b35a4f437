/**
 * What the migrations of the audit service make, as facts, for each major version of Postgres: `definitions/expected.json`, which
 * `npm run audit:definitions` writes from the migrations, and a test holds against them. This is the one place that a migration
 * changes beside its own file.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

/** Outside `src`, so that it is found at the same place before and after a build. */
export const expectedFile = join(import.meta.dirname, '..', '..', 'definitions', 'expected.json');

const Expected = z.strictObject({
  /** Major versions of which the facts are known. */
  versions: z.array(z.int()),
  /** By object and property; where versions differ, a list of what each of them has. */
  objects: z.record(
    z.string(),
    z.record(
      z.string(),
      z.union([z.string(), z.array(z.strictObject({ versions: z.array(z.int()), value: z.string() }))]),
    ),
  ),
});
export type Expected = z.infer<typeof Expected>;

/** Properties of each object. */
export type Objects = ReadonlyMap<string, ReadonlyMap<string, string>>;

/** Undefined for a version of which nothing is known. */
export async function expectedObjects(major: number): Promise<Objects | undefined> {
  const { versions, objects } = Expected.parse(JSON.parse(await readFile(expectedFile, 'utf8')));
  if (!versions.includes(major)) return undefined;
  const known = new Map<string, Map<string, string>>();
  for (const [object, properties] of Object.entries(objects)) {
    const there = new Map<string, string>();
    for (const [property, value] of Object.entries(properties)) {
      const own =
        typeof value === 'string' ? value : value.find((each) => each.versions.includes(major))?.value;
      if (own !== undefined) there.set(property, own);
    }
    if (there.size > 0) known.set(object, there);
  }
  return known;
}
