/** `mayfly-policy recover`: the command line of the break-glass. Exit statuses are those of the `mayfly` command. */
import { readFile } from 'node:fs/promises';
import { hostname, userInfo } from 'node:os';
import { parseArgs } from 'node:util';
import { errorTable, MayflyError, type ConfigProblem } from '@mayfly/contracts';
import { createPool } from '@mayfly/postgres';
import { connectionUrl, loadSettings } from '@mayfly/service';
import { createLogger } from '@mayfly/telemetry';
import { z } from 'zod';
import { recover } from './recover.ts';

const usage = `Usage: mayfly-policy recover --config <file> [--end-leases] [--lock-me-out]

Applies a configuration document without a session: for when no platform administrator is admitted any more. It needs the machine and the
database of policy (MAYFLY_POSTGRES_URL), not the gateway or the bus; policy may be running or not. The document is checked as by
\`mayfly apply\`. Audit is told this host and your operating system user, and MayflyConfigurationRecovered alerts. Keys and sessions stay as
they are.

  --config <file>   the document, mayfly.yaml
  --end-leases      remove also integrations and credentials that have live leases, which then end
  --lock-me-out     apply also a document by which nobody can be a platform administrator

Examples:
  mayfly-policy recover --config mayfly.yaml
  docker compose -f deploy/compose/compose.yaml run --rm --no-TTY --volume "$PWD/mayfly.yaml:/tmp/mayfly.yaml:ro" policy \\
    node --env-file=/database/policy/postgres.env apps/policy/dist/recover/main.js recover --config /tmp/mayfly.yaml
`;

/** As the contract of `applyConfig` bounds it, in characters. */
const maxDocumentLength = 786_432;

process.exitCode = await run(process.argv.slice(2));

async function run(args: readonly string[]): Promise<number> {
  const asked = argumentsOf(args);
  if (asked === 'help') {
    process.stdout.write(usage);
    return 0;
  }
  if (asked === undefined) {
    process.stderr.write(usage);
    return errorTable.invalid_request.exit;
  }
  const settings = loadSettings(z.object({ MAYFLY_POSTGRES_URL: connectionUrl() }));
  const document = await readFile(asked.config, 'utf8').catch(() => undefined);
  if (document === undefined || document.length > maxDocumentLength) {
    tell(`${asked.config} can't be read, or is larger than 768 KiB.`);
    return errorTable.invalid_request.exit;
  }
  const logger = createLogger({ service: 'policy', level: 'silent' });
  const pool = createPool({
    connectionString: settings.MAYFLY_POSTGRES_URL.reveal(),
    applicationName: 'mayfly-policy-recover',
    max: 2,
    statementTimeoutMs: 30_000,
    connectionTimeoutMs: 10_000,
    onIdleError: () => undefined,
  });
  try {
    const recovered = await recover(pool, logger, {
      document,
      host: hostname(),
      osUser: userName(),
      endLeases: asked.endLeases,
      lockMeOut: asked.lockMeOut,
    });
    if (recovered.outcome === 'rejected') {
      for (const problem of recovered.problems) process.stdout.write(`${lineOf(asked.config, problem)}\n`);
      tell(`${asked.config} was rejected; nothing was changed.`);
      return errorTable.invalid_request.exit;
    }
    const { version, unchanged, revocations } = recovered;
    process.stdout.write(`version ${version} is ${unchanged ? 'the newest already' : 'the newest now'}\n`);
    if (revocations > 0) tell(`${revocations} revocations of what it removes are ordered.`);
    return 0;
  } catch (error) {
    const failure = error instanceof MayflyError ? error : undefined;
    tell(
      failure?.reason ??
        'Something is wrong with the database: has policy of this release ever started on it?',
    );
    return errorTable[failure?.code ?? 'internal'].exit;
  } finally {
    await pool.end();
  }
}

interface Asked {
  readonly config: string;
  readonly endLeases: boolean;
  readonly lockMeOut: boolean;
}

function argumentsOf(args: readonly string[]): Asked | 'help' | undefined {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        config: { type: 'string' },
        'end-leases': { type: 'boolean', default: false },
        'lock-me-out': { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.help) return 'help';
    if (positionals.join() !== 'recover' || values.config === undefined) return undefined;
    return { config: values.config, endLeases: values['end-leases'], lockMeOut: values['lock-me-out'] };
  } catch {
    return undefined;
  }
}

/** A container's user may have no name. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.getuid?.() ?? 'unknown'}`;
  }
}

function lineOf(file: string, { path, line, column, message }: ConfigProblem): string {
  return line === undefined ? `${file}: ${path}: ${message}` : `${file}:${line}:${column ?? 1}: ${message}`;
}

function tell(sentence: string): void {
  process.stderr.write(`mayfly-policy: ${sentence}\n`);
}
