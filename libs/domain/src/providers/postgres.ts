/** Provider `postgres`: settings, scope and narrowing. A scope is a set of table privileges on schemas, or on named tables in them. */
import { text, type JsonObject } from '@mayfly/contracts';
import { z } from 'zod';
import { SecretReference } from '../secret-reference.ts';
import type {
  CarriedOver,
  DefaultLimits,
  NarrowResult,
  ProviderDefinition,
  UnsafeRight,
} from './definition.ts';
import { channelBindings, sslModes, targetSessionAttributes } from './postgres/connection.ts';
import { parseConnectionUrl } from './postgres/connection-url.ts';
import { describeRequestProblem, isSubset, uniqueItems } from './scope-parts.ts';

/** Table privileges (PostgreSQL: "Privileges") that a scope may have, narrowest first. */
export const postgresPrivileges = ['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES'] as const;

/** Never given, with the reason: the end of a sentence that begins with the name. */
const refusedPrivileges: ReadonlyMap<string, string> = new Map([
  ['TRIGGER', 'lets a lease run code as whoever writes to the table, and its triggers outlive it'],
]);

/** Given only where `unsafe:` of the credential names them, with the reason. */
const unsafePrivileges: ReadonlyMap<string, string> = new Map([
  [
    'REFERENCES',
    'lets a lease keep rows of others from being changed or deleted, and run code of its own when somebody tries',
  ],
]);

/** An identifier as PostgreSQL stores it: up to 63 bytes, no NUL; quoted wherever it is used, so its letters do not matter. */
const Identifier = text(63).refine((value) => Buffer.byteLength(value) <= 63, {
  error: 'must be at most 63 bytes',
});

/** `schema.table`; the first dot separates, so a schema with a dot in its name can't be given by table. */
const QualifiedTable = text(127).regex(/^[^.]+\..+$/, { error: 'must look like schema.table' });

const Privilege = z
  .string()
  .superRefine((value, context) => {
    const why = refusedPrivileges.get(value);
    if (why === undefined) return;
    context.addIssue({ code: 'custom', message: `must not be ${value}: it ${why}; remove it` });
  })
  .pipe(z.enum(postgresPrivileges));
const Privileges = uniqueItems(z.array(Privilege).min(1).max(postgresPrivileges.length));
const Schemas = uniqueItems(z.array(Identifier).min(1).max(64));
const Tables = uniqueItems(z.array(QualifiedTable).min(1).max(256));

export const PostgresScope = z
  .strictObject({
    privileges: Privileges,
    schemas: Schemas,
    /** Only these tables of the schemas; absent: all tables, views and sequences needed for the privileges. */
    tables: Tables.optional(),
  })
  .refine((scope) => (scope.tables ?? []).every((table) => scope.schemas.includes(schemaOf(table))), {
    error: 'every table must be in one of the schemas',
    path: ['tables'],
  });
export type PostgresScope = z.infer<typeof PostgresScope>;

const PostgresScopeRequest = z.strictObject({
  privileges: Privileges.optional(),
  schemas: Schemas.optional(),
  tables: Tables.optional(),
});

/** A statement template; `{{name}}`, `{{verifier}}`, `{{expiration}}` and `{{group}}` stand for safely quoted values. */
const StatementTemplate = z.string().min(1).max(4096);

export const PostgresIntegrationSettings = z.strictObject({
  /** Reference to a connection URL of a role that may create roles and grant what the scopes name. */
  admin: SecretReference,
  /** Host (or several, comma-separated) and port that agents connect to, when they differ from the admin URL's. */
  agent_host: text(255).optional(),
  agent_port: z.int().min(1).max(65_535).optional(),
  /** `sslmode` told to agents (libpq), when it differs from the admin URL's. */
  sslmode: z.enum(sslModes).optional(),
  /** PBKDF2 iterations of the SCRAM-SHA-256 verifier (RFC 5802 §5.1). A random password of 192 bits gains nothing from more; some drivers refuse less than 4096. */
  scram_iterations: z.int().min(1).max(1_000_000).optional(),
});
export type PostgresIntegrationSettings = z.infer<typeof PostgresIntegrationSettings>;

/** Simultaneous connections of one lease when the document does not say. */
export const defaultConnectionLimit = 5;

/**
 * Connections that all leases of one credential may take together when the document does not limit them: three quarters of
 * PostgreSQL's own default of 100 (`max_connections`), so that one credential does not use up a server that nobody has tuned.
 */
const defaultConnections = 75;

/** Leases of one credential that a session may hold when the document does not say. */
const defaultPerSession = 5;

export const PostgresCredentialSettings = z.strictObject({
  /** Simultaneous connections of one lease (`CONNECTION LIMIT`). Default 5. */
  connection_limit: z.int().min(1).max(1000).optional(),
  /** Statements that replace the creation of the login role. */
  creation_statements: z.array(StatementTemplate).min(1).max(32).optional(),
  /** Statements run before the login role is dropped. */
  revocation_statements: z.array(StatementTemplate).min(1).max(32).optional(),
});
export type PostgresCredentialSettings = z.infer<typeof PostgresCredentialSettings>;

const PostgresHost = z.strictObject({ host: z.string(), port: z.int() });

export const PostgresSecret = z.strictObject({
  host: z.string(),
  port: z.int(),
  /** All of them, in the order in which to try them, where there are several; `host` and `port` are the first. */
  hosts: z.array(PostgresHost).min(2).optional(),
  database: z.string(),
  username: z.string(),
  password: z.string(),
  /** These four are parameters of libpq, by its names; an absent one is left to its default. */
  sslmode: z.enum(sslModes).optional(),
  sslrootcert: z.literal('system').optional(),
  channel_binding: z.enum(channelBindings).optional(),
  target_session_attrs: z.enum(targetSessionAttributes).optional(),
  /** The same as one URL (libpq connection URI). */
  url: z.string(),
});
export type PostgresSecret = z.infer<typeof PostgresSecret>;

/** The only secret of an integration is its admin URL. */
function adminUrlProblem(url: string): string | undefined {
  const parsed = parseConnectionUrl(url);
  return parsed.outcome === 'refused'
    ? `the connection URL that it leads to is refused: ${parsed.reason}`
    : undefined;
}

function schemaOf(table: string): string {
  return table.slice(0, table.indexOf('.'));
}

/** Each part that is asked for must lie within the bounds; a part that is not asked for is the bounds' own, cut to what was. */
function narrow(requested: unknown, bounds: PostgresScope): NarrowResult<PostgresScope> {
  if (requested === undefined) return { outcome: 'narrowed', scope: bounds };
  const parsed = PostgresScopeRequest.safeParse(requested);
  if (!parsed.success) return { outcome: 'malformed', reason: describeRequestProblem(parsed.error) };
  const privileges = parsed.data.privileges ?? bounds.privileges;
  if (!isSubset(privileges, bounds.privileges))
    return { outcome: 'exceeded', reason: 'the scope asks for privileges beyond those of the credential' };
  const schemas = parsed.data.schemas ?? bounds.schemas;
  if (!isSubset(schemas, bounds.schemas))
    return { outcome: 'exceeded', reason: 'the scope asks for schemas beyond those of the credential' };
  const tables = parsed.data.tables ?? bounds.tables?.filter((table) => schemas.includes(schemaOf(table)));
  if (tables === undefined) return { outcome: 'narrowed', scope: { privileges, schemas } };
  if (tables.length === 0 || (bounds.tables !== undefined && !isSubset(tables, bounds.tables))) {
    return { outcome: 'exceeded', reason: 'the scope asks for tables beyond those of the credential' };
  }
  if (!tables.every((table) => schemas.includes(schemaOf(table)))) {
    return { outcome: 'exceeded', reason: 'the scope asks for tables outside its schemas' };
  }
  return { outcome: 'narrowed', scope: { privileges, schemas, tables } };
}

/** By what a lease may take: 15 leases with 5 connections each, 75 with one. At least one. */
function defaultLimits({
  connection_limit: each = defaultConnectionLimit,
}: PostgresCredentialSettings): DefaultLimits {
  const concurrent = Math.max(1, Math.floor(defaultConnections / each));
  return { perSession: Math.min(defaultPerSession, concurrent), concurrent };
}

function unsafeRights({ privileges }: PostgresScope): UnsafeRight[] {
  return privileges.flatMap((name, index) => {
    const why = unsafePrivileges.get(name);
    return why === undefined ? [] : [{ name, why, path: ['privileges', index] }];
  });
}

/** Anything else than a list of privileges is left for the scope's schema to refuse. */
function carryOver(bounds: JsonObject, unsafe: readonly string[]): CarriedOver {
  const privileges: unknown = bounds['privileges'];
  if (!Array.isArray(privileges)) return { bounds, leftOut: [] };
  const leftOut: string[] = [];
  const kept = privileges.filter((name: unknown): name is string => {
    if (typeof name !== 'string') return true;
    const why =
      refusedPrivileges.get(name) ?? (unsafe.includes(name) ? undefined : unsafePrivileges.get(name));
    if (why !== undefined) leftOut.push(`${name} ${why}`);
    return why === undefined;
  });
  return { bounds: kept.length > 0 ? { ...bounds, privileges: kept } : undefined, leftOut };
}

export const postgresDefinition: ProviderDefinition<
  PostgresIntegrationSettings,
  PostgresCredentialSettings,
  PostgresScope
> = {
  name: 'postgres',
  integrationSettings: PostgresIntegrationSettings,
  credentialSettings: PostgresCredentialSettings,
  scope: PostgresScope,
  secret: PostgresSecret,
  secretReferences: (settings) => [settings.admin],
  secretProblem: adminUrlProblem,
  narrow,
  unsafeRights,
  carryOver,
  writes: (scope) => scope.privileges.some((privilege) => privilege !== 'SELECT'),
  revocability: () => ({ kind: 'immediate' }),
  renewal: 'in_place',
  keepsConnection: true,
  defaultLimits,
};
