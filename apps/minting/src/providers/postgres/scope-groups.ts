/**
 * The group roles that hold a scope's privileges. Login roles are members, so ten thousand leases leave nothing in any
 * access list. A group is made when its scope is first asked for and completed at most once a minute (tables come and go);
 * in between a mint does not look at it. Groups of narrowed scopes that have lost their last member go in the background, a minute
 * after at the earliest, because a scope that was asked for once is likely to be asked for again.
 *
 * No lock keeps two from making one group, or a mint from a group that goes: an agent could take it. What meets is tried again.
 */
import { randomUUID } from 'node:crypto';
import type { PostgresScope } from '@mayfly/domain';
import { deadlineIn, type Deadline } from '../deadline.ts';
import { ProviderBusy } from '../provider-error.ts';
import { Turns } from '../turns.ts';
import type { AdminDatabase } from './admin-database.ts';
import { ensureCreatorRoles, forgetCreatorRoles } from './creator-roles.ts';
import type { GroupObserver } from './group-observer.ts';
import { endLockHolders, lookForHoldersMs } from './lock-holders.ts';
import { rightWasMissing, roleWasMissing } from './login-role.ts';
import { describeObject, heldUpBy, lookAtGroup, type GroupLook } from './make-group.ts';
import { lockWaitMs, mostAttempts, optimistically } from './optimistic.ts';
import {
  dropRetiredGroup,
  listEmptyGroups,
  listRetiredGroups,
  renameGroupAway,
  type OpenOther,
} from './retired-groups.ts';
import { firstNameOf, groupRoleName, narrowGroupPrefix, type Place } from './role-names.ts';

export interface ScopeGroupsOptions {
  /** How long a group is taken for complete, and the pause between two looks for empty ones, in milliseconds. */
  readonly freshMs: number;
  /** Deadline of what a group takes, in milliseconds: shared by all mints that wait for it, so none of theirs. */
  readonly deadlineMs: number;
  /** How long a retired group is kept, in milliseconds: longer than any mint that found it by its name can last. */
  readonly retiredMs: number;
  readonly observer?: GroupObserver | undefined;
}

interface Known {
  /** Its name. */
  readonly ready: Promise<string>;
  /** On the monotonic clock. */
  freshUntil: number;
}

/** A group that is asked for. */
interface Wanted {
  readonly database: AdminDatabase;
  readonly place: Place;
  readonly scope: PostgresScope;
  /** The first of its names. */
  readonly name: string;
}

/** Groups of one database that a process makes at once: all of them want the row of their schema. */
const mostMade = 4;

/** Most groups remembered; a forgotten one is looked at again. */
const maxKnown = 10_000;

/** A group that lacks what was locked is looked at again after this long, in milliseconds. */
const incompleteFreshMs = 1_000;

export class ScopeGroups {
  /** By the first of a group's names. */
  readonly #known = new Map<string, Known>();
  readonly #sweeps = new Map<string, NodeJS.Timeout>();
  /** Looks to come at groups that lack what was locked. */
  readonly #completions = new Set<NodeJS.Timeout>();
  readonly #turns = new WeakMap<AdminDatabase, Turns>();

  constructor(private readonly options: ScopeGroupsOptions) {}

  /** The group of a scope, complete. Throws ProviderRejected or ProviderUnavailable. */
  ensure(
    database: AdminDatabase,
    place: Place,
    scope: PostgresScope,
    bounds: PostgresScope,
  ): Promise<string> {
    return this.#ensure(
      { database, place, scope, name: groupRoleName(place, scope, bounds) },
      incompleteFreshMs,
    );
  }

  async #ensure(wanted: Wanted, againMs: number): Promise<string> {
    const { name } = wanted;
    const known = this.#known.get(name);
    if (known !== undefined && performance.now() < known.freshUntil) return known.ready;
    const looking = this.#look(wanted);
    const entry: Known = {
      ready: looking.then(({ group }) => group),
      freshUntil: performance.now() + this.options.freshMs,
    };
    // Told to whoever awaits `looking`.
    entry.ready.catch(() => undefined);
    this.#known.set(name, entry);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= maxKnown) break;
      this.#known.delete(oldest);
    }
    try {
      const { group, locked } = await looking;
      if (locked.count > 0) this.#completeLater(wanted, entry, Math.min(againMs, this.options.freshMs));
      return group;
    } catch (error) {
      if (this.#known.get(name) === entry) this.#known.delete(name);
      throw error;
    }
  }

  /** What was locked is granted as soon as it is free, to the leases that live by then too. */
  #completeLater(wanted: Wanted, entry: Known, afterMs: number): void {
    entry.freshUntil = Math.min(entry.freshUntil, performance.now() + afterMs);
    const timer = setTimeout(() => {
      this.#completions.delete(timer);
      // A group that went meanwhile, or that a mint has looked at, is not looked at again.
      if (this.#known.get(wanted.name) !== entry) return;
      entry.freshUntil = 0;
      this.#ensure(wanted, 2 * afterMs).catch(() => undefined);
    }, afterMs);
    timer.unref();
    this.#completions.add(timer);
  }

  /** The group, or a role that may grant it, was found missing. */
  forget(group: string, database: AdminDatabase): void {
    this.#known.delete(firstNameOf(group));
    forgetRights(database);
  }

  /**
   * Renames a group out of the way for good, whoever is a member: the next mint of its scope makes another. It is dropped by a sweep
   * after its last member has gone, with what it owns. Answers with its new name. Throws ProviderRejected (its cause is
   * `undefined_object` when it is not there) or ProviderUnavailable, at once when something holds the role's row.
   */
  async retire(
    database: AdminDatabase,
    place: Place,
    group: string,
    deadline: Deadline,
    openOther?: OpenOther,
  ): Promise<string> {
    const retired = await renameGroupAway(database, place, group, deadline);
    this.#known.delete(firstNameOf(group));
    this.sweepLater(database, place, openOther);
    return retired;
  }

  /** Has the empty narrowed groups of a place retired, and the retired ones dropped, in a while. */
  sweepLater(
    database: AdminDatabase,
    place: Place,
    openOther?: OpenOther,
    afterMs = this.options.freshMs,
  ): void {
    const key = narrowGroupPrefix(place);
    if (this.#sweeps.has(key)) return;
    const timer = setTimeout(() => {
      this.#sweeps.delete(key);
      // Whatever went wrong, the next end of a narrowed lease, or the next comparison, brings the next attempt.
      this.sweep(database, place, openOther).then(
        ({ left }) => {
          if (left > 0) this.sweepLater(database, place, openOther, this.options.retiredMs);
        },
        () => undefined,
      );
    }, afterMs);
    timer.unref();
    this.#sweeps.set(key, timer);
  }

  /**
   * Retires the narrowed groups of a place that no login role is a member of, and drops those that were retired long enough ago;
   * answers with the names of both, and how many retired ones are left.
   */
  async sweep(
    database: AdminDatabase,
    place: Place,
    openOther?: OpenOther,
  ): Promise<{ readonly retired: string[]; readonly dropped: string[]; readonly left: number }> {
    const deadline = deadlineIn(this.options.deadlineMs);
    const facts = await database.facts(deadline);
    const retired: string[] = [];
    for (const group of await listEmptyGroups(database, place, facts, deadline)) {
      if (!(await hasWorked(renameGroupAway(database, place, group, deadline)))) continue;
      this.#known.delete(firstNameOf(group));
      retired.push(group);
    }
    const keepSeconds = Math.ceil(this.options.retiredMs / 1000);
    const { due, count } = await listRetiredGroups(database, place, keepSeconds, facts, deadline);
    const dropped: string[] = [];
    for (const group of due) {
      if (await hasWorked(dropRetiredGroup(database, group, { facts, openOther, deadline })))
        dropped.push(group);
    }
    return { retired, dropped, left: count - dropped.length };
  }

  close(): void {
    for (const timer of [...this.#sweeps.values(), ...this.#completions]) clearTimeout(timer);
    this.#sweeps.clear();
    this.#completions.clear();
  }

  async #look({ database, place, scope, name }: Wanted): Promise<GroupLook> {
    const deadline = deadlineIn(this.options.deadlineMs);
    const news = { organization: place.organization, integration: place.integration, group: name };
    let mayEnd = true;
    const looked = await optimistically(async (attempt, before) => {
      if (roleWasMissing(before)) forgetRights(database);
      const facts = await database.facts(deadline);
      const creators = await ensureCreatorRoles(database, facts, deadline);
      const mark = `/* group ${randomUUID()} */`;
      const look = (waitMs: number) => {
        const wanted = { name, scope, creators, lenient: attempt === mostAttempts, lockWaitMs: waitMs, mark };
        return lookAtGroup(database, wanted, facts, deadline);
      };
      if (heldUpBy(before) === undefined || !mayEnd)
        return this.#inTurn(database, deadline, () => look(lockWaitMs));
      // Who holds something shows while it is being waited for, so that takes a second connection.
      const ending = endLockHolders(database, { mark, scope }, facts, deadline).then(
        ({ leaseIds, hasSeen }) => {
          mayEnd = leaseIds.length > 0 || !hasSeen;
          if (leaseIds.length > 0) this.options.observer?.endedHolders({ ...news, leaseIds });
        },
        // Without it the look fails as it did before.
        () => undefined,
      );
      const looking = look(lookForHoldersMs);
      await Promise.allSettled([looking, ending]);
      return looking;
    }).catch((error: unknown) => {
      if (rightWasMissing(error)) forgetRights(database);
      const [held] = heldUpBy(error) ?? [];
      if (held === undefined) throw error;
      // Says nothing of the upstream, which has answered.
      throw new ProviderBusy(
        `another session holds a lock that keeps from granting ${describeObject(held)}`,
        {
          cause: error,
        },
      );
    });
    this.options.observer?.looked({ ...news, ...looked });
    return looked;
  }

  async #inTurn<T>(database: AdminDatabase, deadline: Deadline, work: () => Promise<T>): Promise<T> {
    const turns = this.#turns.get(database) ?? new Turns({ most: mostMade });
    this.#turns.set(database, turns);
    const giveBack = await turns.take(deadline.remainingMs());
    if (giveBack === undefined) throw new ProviderBusy('too much is waiting for the database');
    try {
      return await work();
    } finally {
      giveBack();
    }
  }
}

/** What the privileged role is and may do has changed since it was asked. */
function forgetRights(database: AdminDatabase): void {
  database.forgetFacts();
  forgetCreatorRoles(database);
}

/** What fails is left to a later sweep. */
async function hasWorked(work: Promise<unknown>): Promise<boolean> {
  return work.then(
    () => true,
    () => false,
  );
}
