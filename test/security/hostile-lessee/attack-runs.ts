/** Runs the attacks of a table a little ahead of the tests that ask for their outcomes: most of an attack's time is waiting. */
import { appendFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from '@jest/globals';
import type { Attack } from './attack.ts';
import { runAttack, type Outcome } from './run-attack.ts';
import type { Server } from './servers.ts';
import { adminKinds, Upstream, type AdminKind } from './upstream.ts';

export interface AttackTable {
  readonly title: string;
  readonly attacks: readonly Attack[];
  readonly majors: readonly number[];
  /** The server for a version and an admin. */
  readonly serverFor: (major: number, adminKind: AdminKind) => Promise<Server>;
  /** How many attacks are begun before their tests ask for them. */
  readonly ahead: number;
  /** Whether what is done to one server is done one after another, because it hits the whole server. */
  readonly oneAtATime: boolean;
}

/** Of one attack with all that is before it in the queue, in milliseconds. */
const timeoutMs = 240_000;

interface Entry {
  readonly major: number;
  readonly adminKind: AdminKind;
  readonly attack: Attack;
}

/** A test for each attack that applies, for each version and each kind of admin. */
export function describeAttacks(table: AttackTable): void {
  const entries = entriesOf(table);
  const runs = new AttackRuns(table, entries);
  afterAll(() => runs.close(), timeoutMs);
  for (const major of table.majors) {
    for (const adminKind of adminKinds) {
      const admin = adminKind === 'superuser' ? 'a superuser' : 'a CREATEROLE role';
      const here = entries.filter((each) => each.major === major && each.adminKind === adminKind);
      describe(`${table.title}, PostgreSQL ${major}, the admin is ${admin}`, () => {
        for (const entry of here) {
          it(
            entry.attack.name,
            async () => {
              expect((await runs.outcomeOf(entry)).findings).toEqual([]);
            },
            timeoutMs,
          );
        }
      });
    }
  }
}

/** MAYFLY_HOSTILE_ONLY, a regular expression, leaves out the attacks that don't match it: Jest's own filter knows nothing of `ahead`. */
function entriesOf({ majors, attacks }: AttackTable): Entry[] {
  const only = new RegExp(process.env['MAYFLY_HOSTILE_ONLY'] ?? '', 'i');
  return majors.flatMap((major) =>
    adminKinds.flatMap((adminKind) =>
      attacks
        .filter(({ name, from = 0, to = Infinity, admin = adminKind }) => {
          return from <= major && major <= to && admin === adminKind && only.test(name);
        })
        .map((attack) => ({ major, adminKind, attack })),
    ),
  );
}

class AttackRuns {
  readonly #runs = new Map<Entry, Promise<Outcome>>();
  /** The last that was begun at each server, where they go one at a time. */
  readonly #last = new Map<string, Promise<unknown>>();
  /** Upstreams that no attack is using. One where an attack came to something is not used again. */
  readonly #idle = new Map<string, Upstream[]>();

  constructor(
    private readonly table: AttackTable,
    private readonly entries: readonly Entry[],
  ) {}

  outcomeOf(entry: Entry): Promise<Outcome> {
    const from = this.entries.indexOf(entry);
    for (const next of this.entries.slice(from, from + this.table.ahead)) void this.#begin(next);
    return this.#begin(entry);
  }

  async close(): Promise<void> {
    await Promise.all(this.#runs.values());
    await Promise.all([...this.#idle.values()].flat().map((upstream) => upstream.close()));
  }

  #begin(entry: Entry): Promise<Outcome> {
    const begun = this.#runs.get(entry);
    if (begun !== undefined) return begun;
    const key = keyOf(entry);
    const before = this.table.oneAtATime ? this.#last.get(key) : undefined;
    const run = Promise.resolve(before).then(() => this.#run(entry));
    this.#runs.set(entry, run);
    this.#last.set(key, run);
    return run;
  }

  /** Never rejects, because nobody may be listening yet: what stops an attack is a finding. */
  async #run(entry: Entry): Promise<Outcome> {
    try {
      const upstream = await this.#upstreamFor(entry);
      const begun = performance.now();
      const outcome = await runAttack(upstream, entry.attack);
      const tookMs = performance.now() - begun;
      if (outcome.findings.length > 0) await upstream.close();
      else this.#idleOf(entry).push(upstream);
      report(entry, outcome, tookMs);
      return outcome;
    } catch (error) {
      return { findings: [`there is no upstream: ${String(error)}`], ends: [] };
    }
  }

  async #upstreamFor(entry: Entry): Promise<Upstream> {
    const { major, adminKind } = entry;
    return (
      this.#idleOf(entry).pop() ??
      (await Upstream.make(await this.table.serverFor(major, adminKind), adminKind))
    );
  }

  #idleOf(entry: Entry): Upstream[] {
    const key = keyOf(entry);
    const idle = this.#idle.get(key) ?? [];
    this.#idle.set(key, idle);
    return idle;
  }
}

function keyOf({ major, adminKind }: Entry): string {
  return `${String(major)} ${adminKind}`;
}

/** One line of JSON for each, in the file that MAYFLY_HOSTILE_REPORT names: for whoever wants the milliseconds. */
function report({ major, adminKind, attack }: Entry, { findings, ends }: Outcome, tookMs: number): void {
  const file = process.env['MAYFLY_HOSTILE_REPORT'];
  if (file === undefined) return;
  const line = { major, admin: adminKind, attack: attack.name, tookMs, findings, ends };
  appendFileSync(file, `${JSON.stringify(line)}\n`);
}
