/** Ends the sessions that a configuration no longer admits, in the transaction that applies it. */
import { MayflyError, type MayflyEvent } from '@mayfly/contracts';
import type { Configuration } from '@mayfly/configuration';
import { appendToOutbox } from '@mayfly/messaging';
import type { Pool, PoolClient } from 'pg';
import { sessionEvent } from '../reporting/events.ts';
import {
  holdOpenings,
  liveGrounds,
  withdrawSessions,
  type ByAdmission,
  type LiveGround,
} from '../store/session-ends.ts';
import { lostGround } from '../trust/ground.ts';
import type { Session } from './session.ts';

/** Events of one statement, so that none grows without bound. */
const batch = 500;

export interface ConfigurationChange {
  /** What ran until now; undefined when this release can't read it: then each session is judged by what admitted it. */
  readonly before: Configuration | undefined;
  readonly after: Configuration;
  readonly admitting: AdmittingVersions;
}

/** Versions that admitted sessions which are not judged by what ran until now; undefined for one that this release can't read. */
export type AdmittingVersions = ReadonlyMap<number, Configuration | undefined>;

/**
 * Read before anything is locked, since it takes other connections and time. Throws `dependency_unavailable`: what can't be had at this
 * moment is not what can't be read, and whom it admitted is not judged without it.
 */
export async function admittingVersions(
  pool: Pool,
  running: { versionOf(version: number): Promise<Configuration | undefined> },
  before: Configuration | undefined,
): Promise<AdmittingVersions> {
  const versions = new Map<number, Configuration | undefined>();
  for (const { admittedBy } of await liveGrounds(pool, byAdmission(before))) {
    if (admittedBy === undefined || versions.has(admittedBy)) continue;
    versions.set(admittedBy, await running.versionOf(admittedBy).catch(notValid));
  }
  return versions;
}

/** What can't be read has judged nobody, as far as this release can tell. */
function byAdmission(before: Configuration | undefined): ByAdmission {
  return before === undefined ? 'all' : 'kept';
}

function notValid(error: unknown): undefined {
  if (!(error instanceof MayflyError) || error.code !== 'internal') throw error;
}

/** Another version has been stored since the admitting ones were read. */
export class UnknownAdmission extends MayflyError {
  constructor() {
    super('conflict', 'Other documents were applied at the same time.');
  }
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
  const ended = await withdrawSessions(client, [...lost.keys()], byAdmission(change.before));
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

/** With why each is lost. Throws `UnknownAdmission`. */
async function lostGrounds(
  database: Pool | PoolClient,
  { before, after, admitting }: ConfigurationChange,
): Promise<Map<LiveGround, string>> {
  const lost = new Map<LiveGround, string>();
  for (const ground of await liveGrounds(database, byAdmission(before))) {
    const why = whyLost(ground, { before, after, admitting });
    if (why !== undefined) lost.set(ground, why);
  }
  return lost;
}

function whyLost(ground: LiveGround, { before, after, admitting }: ConfigurationChange): string | undefined {
  const { admittedBy: version } = ground;
  if (version !== undefined && !admitting.has(version)) throw new UnknownAdmission();
  const admittedBy = version === undefined ? before : admitting.get(version);
  // Nobody can tell what it was admitted for: it opens another session if the document admits it.
  if (admittedBy === undefined) return 'the version that admitted it can not be read any more';
  return lostGround(ground, admittedBy, after);
}
