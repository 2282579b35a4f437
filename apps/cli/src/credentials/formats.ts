/** `mayfly get --format`: one function per format. */
import { PostgresSecret } from '@mayfly/domain';
import { usageFailure } from '../failure.ts';
import { visibleJson } from '../output/visible.ts';
import { secretOf, type OpenedLease } from './lease.ts';
import { passwordFileLines } from './password-file.ts';
import { dotenvLines, shellExports } from './quoting.ts';
import { variablesOf } from './variables.ts';

export const formatNames = ['env', 'json', 'dotenv', 'pgpass', 'url'] as const;
export type FormatName = (typeof formatNames)[number];

/** The lease in a format, ending with a line end. Throws CommandFailure where the provider has no such format. */
export function formatLease(lease: OpenedLease, format: FormatName): string {
  return formats[format](lease);
}

const formats: Record<FormatName, (lease: OpenedLease) => string> = {
  env: (lease) => shellExports(variablesOf(lease)),
  dotenv: (lease) => dotenvLines(variablesOf(lease)),
  json: (lease) => `${visibleJson({ ...lease.lease, secret: secretOf(lease) }, 2)}\n`,
  pgpass: (lease) => passwordFileLines(postgresSecretOf(lease, 'pgpass')),
  url: (lease) => `${postgresSecretOf(lease, 'url').url}\n`,
};

function postgresSecretOf(lease: OpenedLease, format: FormatName): PostgresSecret {
  if (lease.lease.provider !== 'postgres') {
    throw usageFailure(
      `--format ${format} is for postgres, and ${lease.lease.credential} is of ${lease.lease.provider}.`,
      'Use --format env, dotenv or json; the lease was given back.',
    );
  }
  return PostgresSecret.parse(secretOf(lease));
}
