/** The environment variables by which tools find a credential, by provider. */
import type { JsonObject } from '@mayfly/contracts';
import { JwtSecret, leaseUrl, PostgresSecret } from '@mayfly/domain';
import { secretOf, type OpenedLease } from './lease.ts';
import { misleadingLibpqVariables } from './libpq-variables.ts';
import { passwordFileLines } from './password-file.ts';

export type Variables = Readonly<Record<string, string>>;

/** A secret that a file holds instead of the environment. */
export interface SecretFile {
  /** The variable that names the file's path. */
  readonly variable: string;
  readonly content: string;
}

/** How one provider's secret becomes variables. */
interface ProviderVariables {
  /** Secret and all. */
  readonly whole: (secret: JsonObject) => Variables;
  /** What is not secret, and the file with what is. */
  readonly withFile: (secret: JsonObject) => { readonly variables: Variables; readonly file: SecretFile };
  /** Inherited variables that would lead the tool elsewhere, or override the credential. Mayfly's own need no mention. */
  readonly misleading: readonly string[];
}

const postgres: ProviderVariables = {
  whole: (secret) => {
    const { password, url } = PostgresSecret.parse(secret);
    return { ...connectionOf(secret), PGPASSWORD: password, DATABASE_URL: url };
  },
  withFile: (secret) => ({
    variables: { ...connectionOf(secret), DATABASE_URL: leaseUrl(PostgresSecret.parse(secret)) },
    file: { variable: 'PGPASSFILE', content: passwordFileLines(PostgresSecret.parse(secret)) },
  }),
  misleading: misleadingLibpqVariables,
};

const jwt: ProviderVariables = {
  whole: (secret) => ({ MAYFLY_TOKEN: JwtSecret.parse(secret).token }),
  withFile: (secret) => ({
    variables: {},
    file: { variable: 'MAYFLY_TOKEN_FILE', content: JwtSecret.parse(secret).token },
  }),
  // No tool reads any but Mayfly's own, of which none is inherited.
  misleading: [],
};

/** A provider that this mayfly does not know: `MAYFLY_<KEY>` for each plain value, or the whole as JSON in a file. */
const other: ProviderVariables = {
  whole: (secret) =>
    Object.fromEntries(
      Object.entries(secret).map(([key, value]) => [
        `MAYFLY_${variableName(key)}`,
        typeof value === 'string' ? value : JSON.stringify(value),
      ]),
    ),
  withFile: (secret) => ({
    variables: {},
    file: { variable: 'MAYFLY_SECRET_FILE', content: `${JSON.stringify(secret)}\n` },
  }),
  misleading: [],
};

const byProvider = new Map([
  ['postgres', postgres],
  ['jwt', jwt],
]);

/** Variables with the secret in them, and which lease they belong to. */
export function variablesOf(lease: OpenedLease): Variables {
  return { ...formOf(lease).whole(secretOf(lease)), ...leaseVariables(lease) };
}

/** The same with the secret in a file. */
export function variablesWithFile(lease: OpenedLease): { variables: Variables; file: SecretFile } {
  const { variables, file } = formOf(lease).withFile(secretOf(lease));
  return { variables: { ...variables, ...leaseVariables(lease) }, file };
}

/** Inherited variables that must not reach a tool together with this credential. */
export function misleadingVariables(lease: OpenedLease): readonly string[] {
  return formOf(lease).misleading;
}

/** `ORDERS_DB_READONLY` of `orders-db/readonly`. */
export function variableName(name: string): string {
  return name.toUpperCase().replace(/[^A-Z0-9]/g, '_');
}

function formOf({ lease }: OpenedLease): ProviderVariables {
  return byProvider.get(lease.provider) ?? other;
}

function leaseVariables({ lease }: OpenedLease): Variables {
  return { MAYFLY_LEASE_ID: lease.lease_id, MAYFLY_EXPIRES_AT: lease.expires_at };
}

/** By libpq's names, also for several hosts (PostgreSQL: "Environment Variables"); what the secret leaves open is not set. */
function connectionOf(secret: JsonObject): Variables {
  const { host, port, hosts = [{ host, port }], database, username, ...rest } = PostgresSecret.parse(secret);
  const variables = {
    PGHOST: hosts.map((at) => at.host).join(','),
    PGPORT: hosts.map((at) => at.port).join(','),
    PGDATABASE: database,
    PGUSER: username,
    PGSSLMODE: rest.sslmode,
    PGSSLROOTCERT: rest.sslrootcert,
    PGCHANNELBINDING: rest.channel_binding,
    PGTARGETSESSIONATTRS: rest.target_session_attrs,
  };
  return Object.fromEntries(
    Object.entries(variables).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}
