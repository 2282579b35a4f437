/**
 * The way back in for who is locked out: a configuration document that is applied by whoever has policy's own machine and database
 * credentials, without a session, the gateway or the bus. It touches no keys and no sessions.
 */
import { MayflyError, type ConfigProblem } from '@mayfly/contracts';
import type { Pool } from 'pg';
import { checkDocument } from '../configuration/apply-config.ts';
import { DocumentStore } from '../configuration/document-store.ts';
import { admitsAnAdministrator } from '../configuration/lock-out.ts';
import { RunningConfiguration, type ConfigurationLogger } from '../configuration/running-configuration.ts';
import { recovery } from '../store/config-history.ts';

export interface Recovery {
  readonly document: string;
  /** Name of the machine, and of the operating system user, as audit is told them. */
  readonly host: string;
  readonly osUser: string;
  /** Remove also what has live leases, which then end. */
  readonly endLeases: boolean;
  /** Apply also a document by which nobody could be a platform administrator. */
  readonly lockMeOut: boolean;
}

export type Recovered =
  | {
      readonly outcome: 'applied';
      readonly version: number;
      readonly unchanged: boolean;
      readonly revocations: number;
    }
  | { readonly outcome: 'rejected'; readonly problems: readonly ConfigProblem[] };

/**
 * Stores the document by the same checks as an administrator's, in one transaction with its events: audit hears of it when the bus is
 * back, and every policy takes it up within a second. Throws `conflict` and `dependency_unavailable`.
 */
export async function recover(pool: Pool, logger: ConfigurationLogger, wanted: Recovery): Promise<Recovered> {
  const parsed = checkDocument(wanted.document);
  if (parsed.outcome === 'rejected') return parsed;
  if (!admitsAnAdministrator(parsed.configuration) && !wanted.lockMeOut) {
    throw new MayflyError(
      'conflict',
      'No trust rule of this document can admit a platform administrator; --lock-me-out applies it all the same.',
    );
  }
  const store = new DocumentStore({ pool, running: new RunningConfiguration(pool, logger) });
  const { outcome, orders } = await store.store(
    { document: wanted.document, end_leases: wanted.endLeases },
    parsed.configuration,
    {
      by: recovery,
      from: `host ${wanted.host}, user ${wanted.osUser}`,
      about: {
        reason: 'applied by mayfly-policy recover',
        action_context: { applied_by: recovery, host: wanted.host, os_user: wanted.osUser },
      },
    },
    // Whoever must get in again must not be kept out by the ends of others; the next document makes up for them.
    { keepsSessions: true },
  );
  return {
    outcome: 'applied',
    version: outcome.stored.version,
    unchanged: outcome.outcome === 'unchanged',
    revocations: orders.length,
  };
}
