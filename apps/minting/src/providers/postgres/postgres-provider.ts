/**
 * Provider `postgres`: per lease a login role named after the lease, a member of the group role that holds the scope's
 * privileges. PostgreSQL 13 to 18; the privileged role is a superuser or has CREATEROLE and may grant what scopes name.
 */
import {
  defaultConnectionLimit,
  PostgresCredentialSettings,
  PostgresIntegrationSettings,
  postgresDefinition,
  Secret,
  type PostgresScope,
} from '@mayfly/domain';
import { fingerprint } from '@mayfly/tokens';
import { z } from 'zod';
import { ProviderRejected } from '../provider-error.ts';
import type {
  InspectOutcome,
  LeaseContext,
  ListContext,
  Minted,
  MintContext,
  Provider,
  ReconcileContext,
  ReconcileOutcome,
  RenewContext,
  Renewed,
  RevokeContext,
  RevokeOutcome,
} from '../provider.ts';
import type { AdminDatabase, AdminDatabaseLimits } from './admin-database.ts';
import { AdminDatabases, type IntegrationAt } from './admin-databases.ts';
import { Capacities } from './capacity.ts';
import { adminConnection } from './connecting/admin-url.ts';
import { readTlsFiles } from './connecting/tls-files.ts';
import type { ConnectionObserver, ServerConnections } from './connection-observer.ts';
import { leaseSecret } from './lease-secret.ts';
import {
  cameTooLate,
  createLoginRole,
  findLoginRole,
  isGone,
  listLoginRoles,
  readExpiration,
  rightWasMissing,
  roleWasMissing,
  runCreationStatements,
  stopUnfinishedMints,
} from './login-role.ts';
import { isGroupSpoilt } from './clean-up.ts';
import { cleanUpLoginRole, endLoginRole, type EndingRole } from './end-login-role.ts';
import type { GroupObserver } from './group-observer.ts';
import { prolongLoginRole } from './prolong-login-role.ts';
import { leaseIdOf, loginRoleName, type Place } from './role-names.ts';
import { ScopeGroups } from './scope-groups.ts';
import { mayBeAnother, ServerIdentity } from './server-identity.ts';
import { defaultScramIterations, randomPassword, scramVerifier } from '@mayfly/postgres';
import { placeholdersOf, renderStatement } from './statement-template.ts';

export interface PostgresProviderOptions extends AdminDatabaseLimits {
  /** How long a scope's group role is taken for complete, in milliseconds. */
  readonly groupFreshMs: number;
  readonly connectionObserver?: ConnectionObserver;
  readonly groupObserver?: GroupObserver;
}

/** What revoking needs. The role's name follows from the lease id and is not repeated. */
const Handle = z.object({
  revocation_statements: z.array(z.string()),
  /** Whether the scope was narrower than the credential's, so that its group may be empty afterwards. */
  narrowed: z.boolean(),
  /** Where it was made. Absent in handles of before, and where the server does not say. */
  server: ServerIdentity.optional(),
  /** The group role that it was a member of. Absent in handles of before, and where custom statements use none. */
  group: z.string().optional(),
});
type Handle = z.infer<typeof Handle>;

/** How long a lease is taken to live that was inspected: longer than the register takes to have another one inspected. Milliseconds. */
const inspectedForMs = 300_000;

/** How often a mint is tried whose group vanishes, or by a clock that has been set since it was read. */
const maxAttempts = 3;

type Mint = MintContext<PostgresIntegrationSettings, PostgresCredentialSettings, PostgresScope>;

/** Of every call, whether it is about one lease or not. */
type AnyContext = Omit<LeaseContext<PostgresIntegrationSettings>, 'leaseId'>;

/** Where a login role goes, and what its password is verified with. */
interface Target {
  readonly database: AdminDatabase;
  readonly place: Place;
  readonly verifier: string;
}

interface Created {
  /** Absent where custom statements use none. */
  readonly group: string | undefined;
  readonly expiresAt: Date;
  readonly server: ServerIdentity | undefined;
}

export class PostgresProvider implements Provider<
  PostgresIntegrationSettings,
  PostgresCredentialSettings,
  PostgresScope
> {
  readonly definition = postgresDefinition;
  readonly #databases: AdminDatabases;
  readonly #groups: ScopeGroups;
  readonly #capacities: Capacities;

  constructor(options: PostgresProviderOptions) {
    this.#databases = new AdminDatabases(options);
    this.#capacities = new Capacities(options.connectionObserver);
    options.connectionObserver?.watch(() => this.#connections());
    const deadlineMs = 2 * options.statementTimeoutMs;
    this.#groups = new ScopeGroups({
      freshMs: options.groupFreshMs,
      deadlineMs,
      // Longer than the 32 custom statements that a mint may have, each of which has found the group by its name.
      retiredMs: 40 * options.statementTimeoutMs,
      observer: options.groupObserver,
    });
  }

  async mint(context: Mint): Promise<Minted> {
    checkStatements(context.credentialSettings);
    const password = randomPassword();
    const iterations = context.integrationSettings.scram_iterations ?? defaultScramIterations;
    const [database, verifier] = await Promise.all([
      this.#open(context),
      scramVerifier(password, iterations),
    ]);
    const made = await this.#create(context, { database, place: placeOf(context, database), verifier });
    this.#databases.expectLease(integrationAt(context), context.ttlSeconds * 1000);
    const handle = {
      revocation_statements: context.credentialSettings.revocation_statements ?? [],
      narrowed: made.group?.startsWith('mayfly_narrow_') ?? false,
      ...(made.server !== undefined && { server: made.server }),
      ...(made.group !== undefined && { group: made.group }),
    } satisfies Handle;
    return {
      secret: new Secret(JSON.stringify(leaseSecret(context, database.connection, password))),
      handle,
      nativeExpiresAt: made.expiresAt,
      fingerprints: [fingerprint('password', password)],
      useKeys: { 'postgres.role': loginRoleName(context.leaseId) },
    };
  }

  async revoke(context: RevokeContext<PostgresIntegrationSettings>): Promise<RevokeOutcome> {
    const handle = Handle.parse(context.handle);
    const database = await this.#open(context);
    const { role, openOther } = this.#ending(context, database, handle);
    const outcome = await endLoginRole(database, role, openOther, context.deadline);
    if (handle.narrowed) this.#sweepGroupsLater(context, database);
    return outcome;
  }

  async cleanUp(context: RevokeContext<PostgresIntegrationSettings>): Promise<void> {
    const database = await this.#open(context);
    const { role, openOther } = this.#ending(context, database, Handle.parse(context.handle));
    await cleanUpLoginRole(database, role, openOther, context.deadline);
    if (role.group !== undefined && (await isGroupSpoilt(database, role.group, context.deadline)))
      await this.#groups.retire(
        database,
        placeOf(context, database),
        role.group,
        context.deadline,
        openOther,
      );
  }

  async renew(context: RenewContext<PostgresIntegrationSettings>): Promise<Renewed | 'gone'> {
    const { leaseId, ttlSeconds, notAfter, deadline } = context;
    const { server } = Handle.parse(context.handle);
    const database = await this.#open(context);
    const name = loginRoleName(leaseId);
    const expiresAt = await prolongLoginRole(database, { name, ttlSeconds, notAfter }, deadline);
    if (expiresAt !== undefined) {
      this.#databases.expectLease(integrationAt(context), ttlSeconds * 1000);
      return { nativeExpiresAt: expiresAt };
    }
    // Refuses where another server answers: there nobody can say that it is gone.
    await isGone(database, name, server, deadline);
    return 'gone';
  }

  async reconcile(
    context: ReconcileContext<PostgresIntegrationSettings, PostgresCredentialSettings>,
  ): Promise<ReconcileOutcome> {
    const database = await this.#open(context);
    // The scope of the mint is not known here: its group may be one that nobody needs any longer.
    this.#sweepGroupsLater(context, database);
    const name = loginRoleName(context.leaseId);
    await stopUnfinishedMints(database, name, context.deadline);
    if (!(await findLoginRole(database, name, context.deadline)).exists) return { outcome: 'absent' };
    const { revocation_statements = [] } = context.credentialSettings;
    // A mint that left no handle left no word of its server or its group either.
    const handle = { revocation_statements, narrowed: false } satisfies Handle;
    const { role, openOther } = this.#ending(context, database, handle);
    const outcome = await endLoginRole(database, role, openOther, context.deadline);
    if (outcome === 'access_ended') return { outcome, handle };
    return { outcome: outcome === 'revoked' ? 'removed' : 'absent' };
  }

  async list(context: ListContext<PostgresIntegrationSettings>): Promise<string[]> {
    const { mark, limit, deadline } = context;
    const database = await this.#open(context);
    // A comparison comes every few minutes: what a process that has ended would have swept.
    this.#sweepGroupsLater(context, database);
    const after = context.after === undefined ? '' : loginRoleName(context.after);
    return (await listLoginRoles(database, { mark, after, limit }, deadline)).map(leaseIdOf);
  }

  async inspect(context: RevokeContext<PostgresIntegrationSettings>): Promise<InspectOutcome> {
    const { server: madeAt } = Handle.parse(context.handle);
    const { deadline } = context;
    const database = await this.#open(context);
    // Before anything is asked, so that a server that cannot be asked is one where leases are known to live.
    this.#databases.expectLease(integrationAt(context), inspectedForMs);
    const { exists, server } = await findLoginRole(database, loginRoleName(context.leaseId), deadline);
    await this.#capacities.ask(database, integrationAt(context), deadline);
    if (exists) return 'present';
    return mayBeAnother(madeAt, server) ? 'unknown' : 'absent';
  }

  async close(): Promise<void> {
    this.#groups.close();
    await this.#databases.close();
  }

  /** The admin URL and the files that it names are resolved for each use, so a rotated password or key works at once. */
  async #open(context: AnyContext): Promise<AdminDatabase> {
    const { secrets, integrationSettings } = context;
    const url = (await secrets(integrationSettings.admin)).reveal();
    const files = await readTlsFiles(adminConnection(url), secrets);
    const database = this.#databases.open(url, files, integrationAt(context));
    // Whatever is asked of it, leases live there, or will.
    database.keepConnection();
    return database;
  }

  #connections(): ServerConnections[] {
    return this.#databases.withLeases().map(({ at, database }) => {
      const capacity = this.#capacities.of(database);
      return {
        organization: at.organization,
        integration: at.integration,
        isKept: database.hasKeptConnection,
        ...(capacity !== undefined && { capacity }),
      };
    });
  }

  /**
   * A group that was dropped as empty between our last look and now is made once more: the mint was rolled back. So it was when it
   * came too late; while there is time left, only the server's clock can have been set meanwhile, and it is read again.
   */
  async #create(context: Mint, target: Target): Promise<Created> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#tryToCreate(context, target);
      } catch (error) {
        if (attempt === maxAttempts || !(roleWasMissing(error) || cameTooLate(error))) throw error;
      }
    }
  }

  async #tryToCreate(context: Mint, { database, place, verifier }: Target): Promise<Created> {
    const { credentialSettings, scope, bounds, ttlSeconds, deadline } = context;
    const name = loginRoleName(context.leaseId);
    const templates = credentialSettings.creation_statements;
    const needsGroup = templates?.some((template) => placeholdersOf(template).has('group')) ?? true;
    const group = needsGroup ? await this.#groups.ensure(database, place, scope, bounds) : undefined;
    try {
      if (templates !== undefined) {
        const expiration = await readExpiration(database, ttlSeconds, deadline);
        const values = { name, verifier, expiration, ...(group !== undefined && { group }) };
        const statements = templates.map((template) => renderStatement(template, values));
        const server = await runCreationStatements(database, name, statements, deadline);
        return { group, expiresAt: new Date(expiration), server };
      }
      // Without templates the group is always needed.
      if (group === undefined) throw new TypeError('a login role without a group');
      const connectionLimit = credentialSettings.connection_limit ?? defaultConnectionLimit;
      const role = { name, group, verifier, connectionLimit, ttlSeconds };
      const made = await createLoginRole(database, role, await database.facts(deadline), deadline);
      return { group, ...made };
    } catch (error) {
      if (group !== undefined && (roleWasMissing(error) || rightWasMissing(error)))
        this.#groups.forget(group, database);
      throw error;
    }
  }

  #sweepGroupsLater(context: Parameters<typeof placeOf>[0], database: AdminDatabase): void {
    this.#groups.sweepLater(database, placeOf(context, database), this.#openerOfOthers(database));
  }

  #openerOfOthers(database: AdminDatabase) {
    return (other: string) => this.#databases.open(database.urlOf(other), database.tlsFiles);
  }

  #ending(
    { leaseId }: LeaseContext<PostgresIntegrationSettings>,
    database: AdminDatabase,
    { revocation_statements: templates, server: madeAt, group }: Handle,
  ): { role: EndingRole; openOther: (database: string) => AdminDatabase } {
    const name = loginRoleName(leaseId);
    const revocationStatements = templates.map((template) => renderStatement(template, { name }));
    return {
      role: { name, group, madeAt, revocationStatements },
      openOther: this.#openerOfOthers(database),
    };
  }
}

function integrationAt({ organization, integration, integrationSettings }: AnyContext): IntegrationAt {
  return { organization, integration, admin: integrationSettings.admin };
}

function placeOf(
  context: Omit<LeaseContext<PostgresIntegrationSettings>, 'leaseId'>,
  { database }: AdminDatabase,
): Place {
  return { organization: context.organization, integration: context.integration, database };
}

/** Before anything is made: what can't be rendered now could not be revoked later. */
function checkStatements({ creation_statements, revocation_statements }: PostgresCredentialSettings): void {
  const values = { name: 'x', group: 'x', verifier: 'x', expiration: 'x' };
  for (const template of creation_statements ?? []) renderStatement(template, values);
  for (const template of revocation_statements ?? []) renderStatement(template, { name: 'x' });
  const names = creation_statements?.some((template) => placeholdersOf(template).has('name')) ?? true;
  if (!names)
    throw new ProviderRejected('the custom statements of the credential make no role named {{name}}');
}
