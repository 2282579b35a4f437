/**
 * Writes `definitions/expected.json`: what the migrations of the audit service make, on each major version of Postgres. Run it after
 * a change of `apps/audit/migrations`: `npm run audit:definitions`, or with `-- --check` to be told of what differs and write
 * nothing. Versions of which no programs are installed keep what is known of them, and are named.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { expectedFile, forAnyMonth, LogSession, readFacts, readMajor } from '@mayfly/audit-log';
import { connectionStringFor, ensureServiceDatabase, migrate } from '@mayfly/postgres';
import { startPostgres } from '@mayfly/stack/postgres';
import pg from 'pg';

const root = resolve(import.meta.dirname, '..', '..');
const migrations = join(root, 'apps', 'audit', 'migrations');
const servers = join(root, 'test', 'security', 'hostile-lessee', 'servers');
/** The one that comes with the workspace, and those that `npm run test:hostile` brings. */
const newest = 18;
const versions = [13, 14, 15, 16, 17, newest];
const sampleMonth = 'event_log_2031_01';

async function main() {
  const check = process.argv.includes('--check');
  const known = existsSync(expectedFile)
    ? JSON.parse(readFileSync(expectedFile, 'utf8'))
    : { versions: [], objects: {} };
  const byVersion = new Map(known.versions.map((version) => [version, factsOf(known, version)]));
  const skipped = [];
  for (const version of versions) {
    const programs = version === newest ? undefined : programsFolder(version);
    if (version !== newest && programs === undefined) skipped.push(version);
    else byVersion.set(version, await readFrom(version, programs));
  }
  const text = `${JSON.stringify(merge(byVersion), undefined, 2)}\n`;
  if (skipped.length > 0)
    process.stdout.write(`Not installed, so left as they are: PostgreSQL ${skipped.join(', ')}.\n`);
  const same =
    existsSync(expectedFile) &&
    JSON.stringify(JSON.parse(readFileSync(expectedFile, 'utf8'))) === JSON.stringify(JSON.parse(text));
  if (check) {
    process.stdout.write(
      same
        ? 'The definitions are those of the migrations.\n'
        : 'The definitions are not those of the migrations: npm run audit:definitions\n',
    );
    return same ? 0 : 1;
  }
  writeFileSync(expectedFile, text);
  const { status } = spawnSync('npx', ['prettier', '--log-level', 'warn', '--write', expectedFile], {
    cwd: root,
    stdio: 'inherit',
  });
  process.stdout.write(same ? 'Nothing has changed.\n' : `Written: ${expectedFile}\n`);
  return status ?? 1;
}

/** A new cluster, the migrations, one month, and what the catalogs then say. */
async function readFrom(version, programsFolder) {
  const dataDirectory = mkdtempSync(join(tmpdir(), `mayfly-definitions-${version}-`));
  chmodSync(dataDirectory, 0o711);
  const server = await startPostgres({
    dataDirectory,
    removeOnStop: true,
    settings: { fsync: 'off' },
    ...(programsFolder && { programsFolder }),
  });
  try {
    const [database, role, password] = ['mayfly', 'mayfly_audit', 'only-for-this'];
    const services = [{ schema: 'audit', role, password }];
    await ensureServiceDatabase(server.adminUrl, { database, services, auditor: { schema: 'audit' } });
    const connectionString = connectionStringFor(server.adminUrl, { role, password, database });
    await migrate({ connectionString, schema: 'audit', directory: migrations });
    const client = new pg.Client({ connectionString });
    await client.connect();
    await client.query(`SELECT audit.prepare_month('2031-01-15')`);
    await client.end();
    const session = await LogSession.open({
      connectionString,
      applicationName: 'definitions',
      statementTimeoutMs: 60_000,
    });
    const major = await readMajor(session);
    if (major !== version) throw new Error(`asked for PostgreSQL ${version}, got ${major}`);
    const facts = await readFacts(session, role);
    await session.close();
    return facts.map((fact) => forAnyMonth(fact, sampleMonth));
  } finally {
    await server.stop();
  }
}

/** One value where all versions agree, else one for each group of versions. */
function merge(byVersion) {
  const sorted = [...byVersion.keys()].sort((a, b) => a - b);
  const values = new Map();
  for (const version of sorted) {
    for (const { object, property, value } of byVersion.get(version)) {
      const key = JSON.stringify([object, property]);
      if (!values.has(key)) values.set(key, new Map());
      const groups = values.get(key);
      groups.set(value, [...(groups.get(value) ?? []), version]);
    }
  }
  const objects = {};
  for (const [key, groups] of [...values].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const [object, property] = JSON.parse(key);
    const [[value, versions]] = groups;
    const everywhere = groups.size === 1 && versions.length === sorted.length;
    (objects[object] ??= {})[property] = everywhere
      ? value
      : [...groups].map(([each, those]) => ({ versions: those, value: each }));
  }
  return { versions: sorted, objects };
}

function factsOf({ objects }, version) {
  return Object.entries(objects).flatMap(([object, properties]) =>
    Object.entries(properties).flatMap(([property, value]) => {
      const own =
        typeof value === 'string' ? value : value.find((each) => each.versions.includes(version))?.value;
      return own === undefined ? [] : [{ object, property, value: own }];
    }),
  );
}

/** The folder `native` of the package of a version; undefined where it is not installed. */
function programsFolder(version) {
  try {
    const require = createRequire(join(servers, 'package.json'));
    const folder = resolve(
      dirname(require.resolve(`postgres-${version}-${process.platform}-${process.arch}`)),
      '..',
      'native',
    );
    return existsSync(folder) ? folder : undefined;
  } catch {
    return undefined;
  }
}

process.exitCode = await main();
