/** What applying a document would do: `mayfly apply --dry-run`. */
import {
  MayflyError,
  mostConfigChanges,
  type bus,
  type ConfigChange,
  type InputOf,
  type PreviewedConfig,
} from '@mayfly/contracts';
import type { Configuration } from '@mayfly/configuration';
import type { Pool } from 'pg';
import type { z } from 'zod';
import { admittingVersions, countGroundless } from '../sessions/withdraw-sessions.ts';
import { countLiveSessions } from '../store/live-counts.ts';
import { idsInNextVersion } from '../store/organizations.ts';
import { countLiveReservations } from '../store/reservations.ts';
import { changesBetween, type Change } from './changes.ts';
import { identified } from './identified-configuration.ts';
import { removedCredentials } from './removed.ts';
import type { RunningConfiguration } from './running-configuration.ts';

/** Compares with the newest version, as applying would. Locks nothing, so the counts are of a moment. Throws `conflict` for another expected version. */
export async function previewOf(
  { pool, running }: { readonly pool: Pool; readonly running: RunningConfiguration },
  input: Pick<InputOf<typeof bus.policy.applyConfig>, 'document' | 'expected_version'>,
  document: Configuration,
  lockedOut: string | undefined,
): Promise<z.infer<typeof PreviewedConfig>> {
  await running.refresh();
  const before = running.isLoaded() ? running.current() : undefined;
  const version = before?.version ?? 0;
  if (input.expected_version !== undefined && input.expected_version !== version) {
    throw new MayflyError('conflict', `The running configuration is version ${version}.`);
  }
  const after = identified(document, await idsInNextVersion(pool, [...document.organizations.values()]));
  const changes = changesBetween(before?.configuration, after);
  const removed = before === undefined ? [] : removedCredentials(before.configuration, after);
  const ending = await countLiveReservations(pool, removed);
  return {
    outcome: 'would_apply',
    version,
    unchanged: before?.document === input.document,
    changes: await withCounts(pool, changes.slice(0, mostConfigChanges), before?.configuration),
    changes_total: changes.length,
    ending_sessions: await countGroundless(pool, {
      before: before?.configuration,
      after,
      admitting: await admittingVersions(pool, running, before?.configuration),
    }),
    ending_leases: ending.reduce((sum, { leases }) => sum + leases, 0),
    ...(lockedOut === undefined ? {} : { locks_out: lockedOut.slice(0, 500) }),
  };
}

async function withCounts(
  pool: Pool,
  changes: readonly Change[],
  before: Configuration | undefined,
): Promise<ConfigChange[]> {
  const sessions = await countLiveSessions(pool);
  const sessionsOf = (organization?: string, rule?: string) =>
    sessions
      .filter((one) => (organization ?? one.organization) === one.organization)
      .filter((one) => (rule ?? one.trust_rule) === one.trust_rule)
      .reduce((sum, one) => sum + one.sessions, 0);
  const asked = changes.map((change) => credentialsOf(change, before));
  const leases = await countLiveReservations(pool, asked.flat());
  const leasesOf = new Map(
    leases.map((one) => [JSON.stringify([one.organization, one.credential]), one.leases]),
  );
  return changes.map((change, index) => ({
    ...change,
    live_sessions:
      change.kind === 'trust_rule' || change.kind === 'organization'
        ? sessionsOf(change.organization, change.kind === 'trust_rule' ? change.name : undefined)
        : 0,
    live_leases: (asked[index] ?? []).reduce(
      (sum, { organization, credential }) =>
        sum + (leasesOf.get(JSON.stringify([organization, credential])) ?? 0),
      0,
    ),
  }));
}

/** Of which the leases count. */
function credentialsOf({ kind, organization, name }: Change, before: Configuration | undefined) {
  if (organization === undefined || (kind !== 'credential' && kind !== 'integration')) return [];
  return [...(before?.credentialsOf(organization) ?? [])]
    .filter((one) => (kind === 'credential' ? one.name : one.integration.name) === name)
    .map((one) => ({ organization, credential: one.name }));
}
