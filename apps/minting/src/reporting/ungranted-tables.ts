/** What leases of `postgres` do without, told to whoever operates Mayfly: a line in the log and a number. Agents learn none of it. */
import type { Logger, UngrantedCause, UngrantedLabel } from '@mayfly/telemetry';
import type { GroupObserver } from '../providers/postgres/group-observer.ts';

type Look = Parameters<GroupObserver['looked']>[0];
type EndedHolders = Parameters<GroupObserver['endedHolders']>[0];

/** What of a gauge is needed to fill it. */
interface Fillable {
  reset(): void;
  set(labels: Record<UngrantedLabel, string>, value: number): void;
}

/** Groups remembered at most. */
const maxKept = 10_000;

/** What was found this long ago, in milliseconds, is not told any longer: nobody has asked for that scope since. */
const keepMs = 3_600_000;

export class UngrantedTables implements GroupObserver {
  /** Of the groups that lack something, by their names, which no two places share. */
  readonly #looks = new Map<string, { readonly look: Look; readonly at: number }>();

  constructor(private readonly logger: Pick<Logger, 'warn'>) {}

  looked(look: Look): void {
    const { organization, integration, group, notGrantable, locked } = look;
    this.#looks.delete(group);
    if (notGrantable.count + locked.count === 0) return;
    this.#looks.set(group, { look, at: performance.now() });
    for (const oldest of this.#looks.keys()) {
      if (this.#looks.size <= maxKept) break;
      this.#looks.delete(oldest);
    }
    this.logger.warn(
      {
        organization,
        integration,
        group,
        not_grantable: notGrantable.count,
        locked: locked.count,
        examples: [...notGrantable.examples, ...locked.examples],
      },
      'tables are left out of a scope: the privileged role may not pass them on, or another session has locked them',
    );
  }

  endedHolders({ organization, integration, group, leaseIds }: EndedHolders): void {
    this.logger.warn(
      { organization, integration, group, lease_ids: leaseIds },
      'sessions of leases were ended: an open transaction of theirs kept a group role from being granted anything',
    );
  }

  /** Sets, for each integration, the most that any of its scopes does without. */
  collect(gauge: Fillable, now = performance.now()): void {
    gauge.reset();
    const most = new Map<string, { labels: Record<UngrantedLabel, string>; value: number }>();
    for (const [group, { look, at }] of this.#looks) {
      if (now - at > keepMs) this.#looks.delete(group);
      else {
        const counts: Record<UngrantedCause, number> = {
          no_grant_option: look.notGrantable.count,
          locked: look.locked.count,
        };
        for (const [cause, value] of Object.entries(counts)) {
          const labels = { organization: look.organization, integration: look.integration, cause };
          const key = JSON.stringify(labels);
          if (value > (most.get(key)?.value ?? 0)) most.set(key, { labels, value });
        }
      }
    }
    for (const { labels, value } of most.values()) gauge.set(labels, value);
  }
}
