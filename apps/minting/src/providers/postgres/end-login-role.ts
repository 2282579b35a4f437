/**
 * The end of a lease's login role: its access first, on standbys too, then what it left. Where there are none and nobody resists, all
 * takes one round trip.
 */
import pg from 'pg';
import type { Deadline } from '../deadline.ts';
import { asProviderFailure, ProviderBusy, ProviderRejected } from '../provider-error.ts';
import type { AdminDatabase } from './admin-database.ts';
import { actAsCreatorOf, grantMembership } from './creator-roles.ts';
import { cleanUpFailed, cleanUpStepByStep, shortCleanUp } from './clean-up.ts';
import { endAccessScript, endAccessStepByStep, type EndedRole } from './end-access.ts';
import { endOnStandbys, type Standby } from './end-on-standbys.ts';
import { isGone } from './login-role.ts';
import { findMissingGrant } from './missing-grant.ts';
import type { ServerIdentity } from './server-identity.ts';
import {
  insufficientPrivilege,
  isOfTheLease,
  sqlStateOf,
  tooManyConnections,
  undefinedObject,
} from './upstream-error.ts';

export interface EndingRole extends EndedRole {
  /** Where it was made: that it is gone is believed of this server alone, where it is known. */
  readonly madeAt: ServerIdentity | undefined;
  /** Custom statements, rendered, that belong to the clean-up. */
  readonly revocationStatements: readonly string[];
}

/** Opens another database of the same server. */
export type OpenOther = (database: string) => AdminDatabase;

/**
 * Ends access and, unless something is in the way, cleans up. In this order: a standby that has the role, and does not let it log in,
 * has replayed its end, while one that has none may just not have heard of it yet; and who is no superuser can cut sessions of a role
 * only while that exists. Throws ProviderRejected when access can't be ended yet,
 * ProviderUnavailable when the server can't be reached.
 */
export async function endLoginRole(
  database: AdminDatabase,
  role: EndingRole,
  openOther: OpenOther,
  standbys: readonly Standby[],
  deadline: Deadline,
): Promise<'revoked' | 'access_ended' | 'already_gone'> {
  const goneFromPrimary = async () => {
    await endOnStandbys(standbys, database, role, deadline);
    return 'already_gone' as const;
  };
  const facts = await database.facts(deadline);
  const { revocationStatements } = role;
  const cleanUp = shortCleanUp(role, revocationStatements, facts);
  const run = (statements: readonly string[], options: { isCustom?: boolean; isUpToLease?: boolean } = {}) =>
    database.run(statements.join('\n;\n'), deadline, { ownTransactions: true, ...options });
  const runCleanUp = (before: readonly string[]) =>
    run([...before, ...cleanUp], { isCustom: revocationStatements.length > 0, isUpToLease: true });
  // From what goes wrong least to what goes on longest.
  const ways = [
    ...(role.hasStandbys
      ? []
      : [() => runCleanUp(endAccessScript(role, facts)).then(() => 'revoked' as const)]),
    // In one message, because a lease that takes every lock leaves no time for a second one.
    () => run(endAccessScript(role, facts, { leaves: true, isDurable: true })),
    () => endAccessStepByStep(database, role, openOther, deadline),
  ];
  for (const [index, way] of ways.entries()) {
    try {
      if ((await way()) === 'revoked') return 'revoked';
      break;
    } catch (error) {
      if (await hasGone(error, database, role, deadline)) return goneFromPrimary();
      if (index === ways.length - 1)
        throw await withMissingGrant(asEvidenceOfNothing(error), database, role, deadline);
      if (!isAnswer(error) && !isForWantOfConnection(error)) throw error;
    }
  }
  await endOnStandbys(standbys, database, role, deadline);
  try {
    await runCleanUp([
      ...actAsCreatorOf(role.name, facts, 'session'),
      ...grantMembership('CURRENT_USER', pg.escapeIdentifier(role.name), facts),
    ]);
    return 'revoked';
  } catch {
    return 'access_ended';
  }
}

/** The whole clean-up, which may take its time. Throws ProviderRejected for what the lease brought about, ProviderUnavailable. */
export async function cleanUpLoginRole(
  database: AdminDatabase,
  role: EndingRole,
  openOther: OpenOther,
  deadline: Deadline,
): Promise<void> {
  try {
    await cleanUpStepByStep(database, role, role.revocationStatements, openOther, deadline);
  } catch (error) {
    if (await hasGone(error, database, role, deadline)) return;
    if (sqlStateOf(causeOf(error)) === insufficientPrivilege)
      throw await withMissingGrant(error, database, role, deadline);
    if (!isAnswer(error)) throw error;
    throw cleanUpFailed(causeOf(error));
  }
}

async function hasGone(
  error: unknown,
  database: AdminDatabase,
  { name, madeAt }: EndingRole,
  deadline: Deadline,
): Promise<boolean> {
  return sqlStateOf(causeOf(error)) === undefinedObject && (await isGone(database, name, madeAt, deadline));
}

/** The server answered, if only to refuse: a refusal for want of the server itself (no connection, a shutdown) is none. */
function isAnswer(error: unknown): boolean {
  return asProviderFailure(error) instanceof ProviderRejected || isOfTheLease(error);
}

/** No connection was to be had: the end of access by itself may use the one that is kept for it. */
function isForWantOfConnection(error: unknown): boolean {
  return error instanceof ProviderBusy || sqlStateOf(causeOf(error)) === tooManyConnections;
}

/** What one lease brings about says nothing of the server: no circuit breaker may count it. */
function asEvidenceOfNothing(error: unknown): unknown {
  if (!isOfTheLease(error)) return error;
  return new ProviderRejected('the access of the lease could not be ended yet', { cause: causeOf(error) });
}

/** Says which right is missing, where that is why; the error as it is otherwise. */
async function withMissingGrant(
  error: unknown,
  database: AdminDatabase,
  { name }: EndingRole,
  deadline: Deadline,
): Promise<unknown> {
  if (sqlStateOf(causeOf(error)) !== insufficientPrivilege) return error;
  // The rights of the privileged role may be others by now than when they were asked for.
  database.forgetFacts();
  const missing = await database
    .facts(deadline)
    .then((facts) => findMissingGrant(database, name, facts, deadline))
    .catch(() => undefined);
  return missing === undefined ? error : new ProviderRejected(missing.sentence, { cause: causeOf(error) });
}

function causeOf(error: unknown): unknown {
  return asProviderFailure(error).cause;
}
