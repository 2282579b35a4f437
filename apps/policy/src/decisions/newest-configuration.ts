/** Deciding again when the configuration has changed since this replica last looked. */
import { MayflyError } from '@mayfly/contracts';
import type { RunningConfiguration, RunningVersion } from '../configuration/running-configuration.ts';

/** Postgres has a newer version than the one that was decided by. */
export const outdated = Symbol('outdated configuration');
export type Outdated = typeof outdated;

const tries = 2;

/** Throws `dependency_unavailable` when the configuration changes faster than it can be decided by. */
export async function byNewestConfiguration<Answer>(
  configuration: Pick<RunningConfiguration, 'current' | 'refreshFrom'>,
  decide: (running: RunningVersion) => Promise<Answer | Outdated>,
): Promise<Answer> {
  for (let attempt = 0; attempt < tries; attempt++) {
    const running = configuration.current();
    const answer = await decide(running);
    if (answer !== outdated) return answer;
    await configuration.refreshFrom(running.version);
  }
  throw new MayflyError('dependency_unavailable', 'The configuration is being changed.');
}
