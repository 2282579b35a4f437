/** Everything that minting asks of the provider, in all the forms that take SQL of their own. */
import { waitUntil } from '@mayfly/stack';
import { cleanUp, describe } from './ends.ts';
import { rolesOf, type RoleIdentity } from './leftovers.ts';
import { Lessee } from './lessee.ts';
import type { Broker, Lease, Wish } from './provider-under-test.ts';
import { shadowPath } from './shadows.ts';
import { narrower, workshop, type Upstream } from './upstream.ts';

/** Statements of a customer's own, which use nothing that could be shadowed: what they find on the path is the customer's business. */
const custom: NonNullable<Wish['settings']> = {
  creation_statements: [
    'CREATE ROLE {{name}} LOGIN PASSWORD {{verifier}} VALID UNTIL {{expiration}}',
    `GRANT USAGE, CREATE ON SCHEMA ${workshop} TO {{name}}`,
  ],
  revocation_statements: [`REVOKE CREATE ON SCHEMA ${workshop} FROM {{name}}`],
};
const customInGroup: NonNullable<Wish['settings']> = {
  creation_statements: [
    'CREATE ROLE {{name}} LOGIN PASSWORD {{verifier}} VALID UNTIL {{expiration}} IN ROLE {{group}}',
  ],
};

/** That they set a path must not reach the statements after them. */
const settingPath = `SET search_path = ${shadowPath}`;
const customWithPath: NonNullable<Wish['settings']> = {
  creation_statements: [...(custom.creation_statements ?? []), settingPath],
  revocation_statements: [...(custom.revocation_statements ?? []), settingPath],
};

/** Runs all verbs. A sentence for each that failed. `other` is another database of the server. */
export async function runAllVerbs(
  upstream: Upstream,
  other: string,
  { customPath = false } = {},
): Promise<string[]> {
  const broker = upstream.anotherBroker();
  const byCustomer = customPath ? customWithPath : custom;
  const failures: string[] = [];
  const lessees: Lessee[] = [];
  const attempt = async <T>(what: string, work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work();
    } catch (error) {
      failures.push(`${what}: ${describe(error)}`);
      return undefined;
    }
  };
  const mint = async (what: string, wish?: Wish): Promise<Lessee | undefined> => {
    const lease = await attempt(`mint ${what}`, () => broker.mint(wish));
    if (lease === undefined) return undefined;
    const lessee = new Lessee(lease);
    lessees.push(lessee);
    return lessee;
  };

  const full = await mint('full');
  const narrow = await mint('narrow', { scope: narrower });
  const ofTables = await mint('of tables', { scope: { ...narrower, tables: ['shop.orders'] } });
  const byStatements = await mint('by statements', { settings: byCustomer });
  const inGroup = await mint('by statements in a group', { settings: customInGroup });
  const abandoned = await mint('for a lease that was never activated', { settings: byCustomer });
  const groups = narrow === undefined ? [] : (await rolesOf(upstream, narrow.lease)).groups;

  // What the end of the full one has to clear away, in every form.
  if (full !== undefined) {
    await full.having('SELECT pg_catalog.lo_create(0)');
    await full.having('SELECT pg_catalog.lo_create(0)', { database: other });
    await full.having('BEGIN; SELECT pg_catalog.lo_create(0)');
    await full.having(`BEGIN; SELECT pg_catalog.lo_create(0); PREPARE TRANSACTION '${full.lease.role}'`);
    await attempt('renew', () => broker.renew(full.lease));
    await attempt('inspect', () => broker.inspect(full.lease));
  }
  await attempt('list', () => broker.list());
  if (abandoned !== undefined)
    await attempt('reconcile', () => broker.reconcile(abandoned.lease, byCustomer));
  const endAndCleanUp = async (what: string, lessee: Lessee | undefined) => {
    if (lessee === undefined) return;
    await attempt(`end ${what}`, () => broker.end(lessee.lease));
    const why = await cleanUp(broker, lessee.lease, 5_000);
    if (why !== undefined) failures.push(`clean up ${what}: ${why}`);
  };
  await endAndCleanUp('full', full);
  await endAndCleanUp('by statements', byStatements);
  await endAndCleanUp('in a group', inGroup);
  await endAndCleanUp('of tables', ofTables);
  await endAndCleanUp('narrow', narrow);
  if (full !== undefined) await askForOneThatIsGone(broker, full.lease, attempt);
  await attempt('drop the empty group', () => dropEmptyGroups(upstream, broker, groups));
  await Promise.all(lessees.map((lessee) => lessee.stop()));
  await broker.close();
  return failures;
}

async function askForOneThatIsGone(
  broker: Broker,
  lease: Lease,
  attempt: (what: string, work: () => Promise<unknown>) => Promise<unknown>,
): Promise<void> {
  await attempt('end what is gone', () => broker.end(lease));
  await attempt('inspect what is gone', () => broker.inspect(lease));
  await attempt('renew what is gone', () => broker.renew(lease));
  await attempt('reconcile what is gone', () => broker.reconcile(lease));
}

/**
 * Groups of narrowed scopes go in the background when their last member has gone, after a time that is many times that of a statement. A
 * replica of little patience does it sooner.
 */
async function dropEmptyGroups(
  upstream: Upstream,
  { integration }: Broker,
  groups: readonly RoleIdentity[],
): Promise<void> {
  const impatient = upstream.anotherBroker({ integration, statementTimeoutMs: 60 });
  const look = async () => {
    await impatient.list();
    const oids = groups.map(({ oid }) => oid);
    return (await upstream.asSuperuser('SELECT FROM pg_authid WHERE oid = ANY ($1)', [oids])).length === 0;
  };
  try {
    await waitUntil('the sweep', look, { deadlineMs: 15_000, intervalMs: 250 });
  } finally {
    await impatient.close();
  }
}
