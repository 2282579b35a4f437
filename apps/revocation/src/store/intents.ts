/** Intents: leases of which nothing is known yet but that minting is about to call the provider. */
import { asDependencyError } from '@mayfly/postgres';
import type { Pool } from 'pg';
import { factColumns, type LeaseFacts } from './lease.ts';

export interface Intent {
  readonly facts: LeaseFacts;
  /** When minting told it, by minting's clock. RFC 3339. */
  readonly toldAt: string;
}

/**
 * Writes down intents, all in one statement; those that the register knows already, in whatever state, stay as they
 * are. Each is due for orphaning `orphanAfterMs` after it was told, so that one that had to be delivered twice, because a replica
 * was paused, is no later for it.
 *
 * Minting's clock may be off, so it is believed within bounds: never later than now, and half of the time is always left, which
 * is more than a mint can take. A clock that is behind has no mint under way refused; one that is ahead only makes
 * an orphan as late as it would be without being told the time.
 */
export async function recordIntents(
  pool: Pool,
  intents: readonly Intent[],
  orphanAfterMs: number,
): Promise<void> {
  // In the order of ids, so that replicas that get the same messages don't deadlock.
  await pool
    .query({
      name: 'record_intents',
      text: `
        INSERT INTO revocation.leases
          (lease_id, state, organization, session_id, parent_session_id, agent_id, agent_role, "user", task, claimed_task,
           credential, integration, provider, scope, ttl_seconds, config_version, issuance_traceparent, intended_at, due_at)
        SELECT DISTINCT ON (i.lease_id)
           i.lease_id, 'intended', i.organization, i.session_id, i.parent_session_id, i.agent_id, i.agent_role, i."user",
           i.task, i.claimed_task, i.credential, i.integration, i.provider, i.scope, i.ttl_seconds, i.config_version,
           i.issuance_traceparent, now(),
           least(now(), greatest(i.intended_at, now() - $2::double precision * interval '0.5 milliseconds'))
             + $2::double precision * interval '1 millisecond'
        FROM jsonb_populate_recordset(NULL::revocation.leases, $1::jsonb) AS i
        ORDER BY i.lease_id
        ON CONFLICT (lease_id) DO NOTHING`,
      values: [
        JSON.stringify(intents.map(({ facts, toldAt }) => ({ ...factColumns(facts), intended_at: toldAt }))),
        orphanAfterMs,
      ],
    })
    .catch((error: unknown) => {
      throw asDependencyError(error);
    });
}
