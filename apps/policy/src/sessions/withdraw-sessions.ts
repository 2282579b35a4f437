/** Ends the sessions that a configuration no longer admits, in the transaction that applies it. */
import type { MayflyEvent } from '@mayfly/contracts';
import type { Configuration } from '@mayfly/configuration';
import { appendToOutbox } from '@mayfly/messaging';
import type { Pool, PoolClient } from 'pg';
import { sessionEvent } from '../reporting/events.ts';
import { holdOpenings, liveGrounds, withdrawSessions, type LiveGround } from '../store/session-ends.ts';
import { lostGround } from '../trust/ground.ts';
import type { Session } from './session.ts';

/** Events of one statement, so that none grows without bound. */
const batch = 500;

export interface ConfigurationChange {
  /** What ran until now; undefined when it can't be read. */
  readonly before: Configuration | undefined;
  readonly after: Configuration;
  /** An earlier version, for sessions that a version kept without admitting them; undefined when it can't be read. */
  readonly versionOf: (version: number) => Promise<Configuration | undefined>;
}

/**
 * Ends what loses its ground, and tells it by `session.closed`, whose consumer ends the leases. To be called before the
 * transaction takes the lock of the configuration versions (the order of locks is in `store/session-ends.ts`), and undone with it.
 * Answers with the sessions, whose leases the caller may have ended at once after the commit.
 */
export async function endGroundlessSessions(
  client: PoolClient,
  change: ConfigurationChange,
): Promise<Session[]> {
  await holdOpenings(client);
  const lost = await lostGrounds(client, change);
  const ended = await withdrawSessions(client, [...lost.keys()]);
  const events: MayflyEvent[] = ended.map((session) =>
    sessionEvent('session.closed', session, {
      reason: lost.get(session.ground) ?? 'the configuration no longer admits it',
      outcome: 'withdrawn',
    }),
  );
  for (let from = 0; from < events.length; from += batch) {
    await appendToOutbox(client, 'policy', events.slice(from, from + batch));
  }
  return ended;
}

/** How many sessions lose their ground with this change, at this moment. Ends nothing and locks nothing. */
export async function countGroundless(pool: Pool, change: ConfigurationChange): Promise<number> {
  const lost = await lostGrounds(pool, change);
  return [...lost.keys()].reduce((sum, { sessions }) => sum + sessions, 0);
}

/** With why each is lost. */
async function lostGrounds(
  database: Pool | PoolClient,
  { before, after, versionOf }: ConfigurationChange,
): Promise<Map<LiveGround, string>> {
  const lost = new Map<LiveGround, string>();
  for (const ground of await liveGrounds(database)) {
    const admittedBy =
      ground.admittedBy === undefined ? before : await versionOf(ground.admittedBy).catch(() => undefined);
    const why = lostGround(ground, admittedBy, after);
    if (why !== undefined) lost.set(ground, why);
  }
  return lost;
}
