/** Has the provider do everything it does in a database full of shadows, and looks which of them were used. */
import { runAllVerbs } from './all-verbs.ts';
import { describe } from './ends.ts';
import { connectionTo, runOnce } from './rows.ts';
import { logStatements, partsOf, sentStatements } from './sent-statements.ts';
import type { Server } from './servers.ts';
import { hitsIn, makeShadows, shadowPath, shadowSchema } from './shadows.ts';
import { Upstream, type AdminKind } from './upstream.ts';

/** What was used, and what failed. */
export interface Step {
  readonly hits: readonly string[];
  readonly failures: readonly string[];
}

export interface Walk {
  readonly shadowed: ReadonlySet<string>;
  /** What could not be shadowed. */
  readonly missed: readonly string[];
  readonly plain: Step;
  readonly afterCustomPath: Step;
  /** What comes of a mint whose admin's URL has a path in its options. */
  readonly withPathInUrl: string;
  /** What was sent after the shadows were made and has none. */
  readonly unshadowed: readonly string[];
  /** The admin itself, without the provider. */
  readonly control: Step;
}

/** The control: each walks into a shadow. */
const intoShadows = [
  'SELECT now()',
  'SELECT 1 = 1',
  'SELECT * FROM pg_roles',
  `SELECT 'a'::text`,
  'SELECT 1 IN (2)',
];

export async function walkAmongShadows(server: Server, adminKind: AdminKind): Promise<Walk> {
  const upstream = await Upstream.make(server, adminKind);
  const other = `${upstream.database}_other`;
  const databases = [upstream.database, other].map((name) => connectionTo(server.superuserUrl, name));
  const hits = async () => [...new Set((await Promise.all(databases.map(hitsIn))).flat())].sort();
  await runOnce(connectionTo(server.superuserUrl), `CREATE DATABASE ${other} TEMPLATE template0`);
  try {
    await logStatements(upstream);
    // Without shadows first, to learn what is sent.
    await runAllVerbs(upstream, other);
    const parts = partsOf(await sentStatements(upstream));
    const made = await Promise.all(databases.map((database) => makeShadows(database, parts)));
    await putOnPath(upstream);
    const plain = { failures: await runAllVerbs(upstream, other), hits: await hits() };
    const afterCustomPath = {
      failures: await runAllVerbs(upstream, other, { customPath: true }),
      hits: await hits(),
    };
    const withPathInUrl = await mintWithPathInUrl(upstream);
    const shadowed = new Set(made.flatMap(({ names }) => [...names]));
    return {
      shadowed,
      missed: made.flatMap(({ missed }) => missed),
      plain,
      afterCustomPath,
      withPathInUrl,
      control: await walkIn(upstream, hits),
      unshadowed: await unshadowedIn(upstream, shadowed),
    };
  } finally {
    await upstream.asSuperuser(`ALTER DATABASE ${upstream.database} RESET search_path`);
    await upstream.close();
    await runOnce(connectionTo(server.superuserUrl), `DROP DATABASE ${other} WITH (FORCE)`);
  }
}

async function putOnPath(upstream: Upstream): Promise<void> {
  const { admin, database } = upstream;
  await upstream.asSuperuser(
    `ALTER ROLE ${admin} SET search_path = ${shadowPath};
     ALTER ROLE ${admin} IN DATABASE ${database} SET search_path = ${shadowPath};
     ALTER DATABASE ${database} SET search_path = ${shadowPath}`,
  );
}

/** As libpq's `options` in the URL. */
async function mintWithPathInUrl(upstream: Upstream): Promise<string> {
  const url = new URL(upstream.adminUrl);
  url.searchParams.set('options', `-c search_path=${shadowPath.replaceAll(' ', '')}`);
  const broker = upstream.anotherBroker({}, url.href);
  try {
    await broker.mint();
    return 'it was minted';
  } catch (error) {
    return describe(error);
  } finally {
    await broker.close();
  }
}

async function walkIn(upstream: Upstream, hits: () => Promise<string[]>): Promise<Step> {
  const failures: string[] = [];
  for (const text of intoShadows)
    await runOnce(connectionTo(upstream.adminUrl), text).catch((error: unknown) =>
      failures.push(describe(error)),
    );
  return { failures, hits: await hits() };
}

/** What has been sent by now is shadowed once more, elsewhere. */
async function unshadowedIn(upstream: Upstream, shadowed: ReadonlySet<string>): Promise<string[]> {
  const database = connectionTo(upstream.server.superuserUrl, upstream.database);
  await runOnce(
    database,
    `SET search_path = pg_catalog; ALTER SCHEMA ${shadowSchema} RENAME TO ${shadowSchema}_before`,
  );
  const { names } = await makeShadows(database, partsOf(await sentStatements(upstream)));
  return [...names].filter((name) => !shadowed.has(name));
}
