/**
 * Runs one attack and says what is not as it must be. An attack goes on until the run is over. While it does, one honest lease beside it is
 * ended and another minted; then its own lease is ended together with another honest one, then the attacker's other leases.
 */
import type { PostgresScope } from '@mayfly/domain';
import type { Attack, Stage } from './attack.ts';
import { cleanUp, describe, end, type End } from './ends.ts';
import { leftovers, rolesOf, type LeaseRoles } from './leftovers.ts';
import { Lessee } from './lessee.ts';
import type { Wish } from './provider-under-test.ts';
import type { Upstream } from './upstream.ts';

/** What an attack came to. */
export interface Outcome {
  /** A sentence for each thing that is not as it must be. */
  readonly findings: readonly string[];
  readonly ends: readonly (End & { readonly whose: string })[];
}

/**
 * Milliseconds. What is demanded is a second; the rest is for a machine of two cores that runs other attacks at the same time. What goes
 * wrong waits for a lock or a time-out, which is 5 s and more.
 */
const accessLimitMs = 2_000;
const honestEndLimitMs = 3_000;
/** For the end of one that can't be ended at once. */
const stubbornLimitMs = 20_000;
const mintLimitMs = 3_000;
/** For clean-up, while those it may have to wait for are still there, and when they have gone. */
const cleanUpLimitMs = { once: 0, meanwhile: 5_000, afterwards: 15_000 };

export async function runAttack(upstream: Upstream, attack: Attack): Promise<Outcome> {
  const run = new Run(upstream, attack);
  try {
    await run.play();
  } catch (error) {
    run.findings.push(`it could not be run: ${describe(error)}`);
  } finally {
    await run.stop();
  }
  return run;
}

interface Party {
  readonly whose: string;
  readonly lessee: Lessee;
  readonly roles: LeaseRoles;
  isEnded: boolean;
  isCleanedUp: boolean;
}

class Run implements Outcome {
  readonly findings: string[] = [];
  readonly ends: (End & { whose: string })[] = [];
  readonly #parties: Party[] = [];

  constructor(
    private readonly upstream: Upstream,
    private readonly attack: Attack,
  ) {}

  async play(): Promise<void> {
    const { attack } = this;
    // One after another: statements of a customer's own may grant on the same schema, which PostgreSQL fails at when two do at once.
    const hostile: Party[] = [];
    for (const wish of attack.leases ?? [{}, {}])
      hostile.push(await this.#mint(hostile.length === 0 ? 'the attacker' : 'an accomplice', wish));
    const [lessee, ...accomplices] = hostile;
    const [early, late] = [await this.#mint('an honest lease'), await this.#mint('another honest lease')];
    if (lessee === undefined) throw new Error('an attack takes a lease');
    for (const { lessee: each } of [early, late]) await each.having('SELECT note FROM shop.orders');
    const stage: Stage = {
      lessee: lessee.lessee,
      accomplices: accomplices.map((each) => each.lessee),
      neighbours: [early, late].map(({ roles }) => roles.name),
      group: lessee.roles.groups[0]?.name ?? '',
      upstream: this.upstream,
    };
    const unknown = await this.upstream.unknownScope();
    await attack.attack(stage);

    if (attack.ends === 'when it lets go') {
      await this.#endHostile(lessee);
      await Promise.all([this.#endHonest(early), this.#endHonest(late)]);
    } else {
      await this.#othersComeAndGo(lessee, early, late, unknown);
      await Promise.all([this.#endHostile(lessee), this.#endHonest(late)]);
    }
    await this.#cleanUp(lessee, attack.cleanUpWaitsFor === undefined ? 'meanwhile' : 'once');
    await Promise.all(accomplices.map((each) => this.#endHostile(each)));
    for (const each of this.#parties) if (each.isEnded) await this.#cleanUp(each, 'afterwards');
    const later = await this.#mintBeside();
    for (const each of this.#parties) if (!each.isEnded) await this.#endHonest(each);
    await this.#checkWhatIsLeft(stage, later);
  }

  /** What must go on beside an attack: an end, mints, and the verbs that do neither. */
  async #othersComeAndGo(hostile: Party, early: Party, late: Party, unknown: PostgresScope): Promise<void> {
    const mayMint = this.attack.mintsMayFail !== true;
    await Promise.all([
      this.#endHonest(early),
      mayMint && this.#mintBeside(),
      mayMint && this.#mintBeside({ scope: unknown }, this.attack.holdsUpNewScopes),
      mayMint && this.#askAbout(hostile, late),
    ]);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#parties.map(({ lessee }) => lessee.stop()));
  }

  async #mint(whose: string, wish?: Wish): Promise<Party> {
    const lease = await this.upstream.broker.mint(wish);
    const roles = await rolesOf(this.upstream, lease);
    const party = { whose, lessee: new Lessee(lease), roles, isEnded: false, isCleanedUp: false };
    this.#parties.push(party);
    return party;
  }

  /** A lease that is asked for while the attack goes on, or after it: it must be made, soon, and work. */
  async #mintBeside(wish?: Wish, mayBeRefused = false): Promise<Party | undefined> {
    const begun = performance.now();
    try {
      const party = await this.#mint('a lease made later', wish);
      await party.lessee.having('SELECT note FROM shop.orders');
      return party;
    } catch (error) {
      if (!mayBeRefused) this.findings.push(`a mint failed ${after(begun)}: ${describe(error)}`);
      return undefined;
    } finally {
      this.#expectWithin('a mint', performance.now() - begun, mintLimitMs);
    }
  }

  /** The verbs that end nothing. */
  async #askAbout(hostile: Party, honest: Party): Promise<void> {
    const { broker } = this.upstream;
    const begun = performance.now();
    try {
      const renewed = await broker.renew(honest.lessee.lease);
      if (renewed !== 'renewed') this.findings.push('an honest lease could not be renewed');
      const inspected = await broker.inspect(hostile.lessee.lease);
      if (inspected !== 'present') this.findings.push(`the attacker's live lease is found ${inspected}`);
      const listed = await broker.list();
      if (!listed.includes(hostile.lessee.lease.leaseId)) this.findings.push('a live lease is not listed');
      this.#expectWithin('to renew, inspect and list', performance.now() - begun, mintLimitMs);
    } catch (error) {
      this.findings.push(`to renew, inspect and list failed ${after(begun)}: ${describe(error)}`);
    }
  }

  /** Its clean-up is part of its end, unless the attack may hold that up. */
  async #endHonest(party: Party): Promise<void> {
    await this.#end(party, honestEndLimitMs);
    if (this.attack.holdsUpNeighbours !== true && party.isEnded && !party.isCleanedUp)
      this.findings.push(`the clean-up of ${party.whose} is pending`);
  }

  async #endHostile(party: Party): Promise<void> {
    const { ends } = this.attack;
    if (ends === undefined || party.whose !== 'the attacker') return this.#end(party, accessLimitMs);
    const first = await end(this.upstream, party.lessee, party.roles);
    this.ends.push({ whose: party.whose, ...first });
    if (first.failure === undefined) {
      party.isEnded = true;
      party.isCleanedUp = first.cleanUp === 'done';
      if (first.accessEndedMs === undefined)
        this.findings.push(`the end of ${party.whose} was answered while its access went on`);
      return;
    }
    if (ends === 'when it lets go') await party.lessee.stop();
    else party.lessee.mayNotWorkAfter(performance.now());
    await this.#endAgain(party);
  }

  /** As the register does with what fails. */
  async #endAgain(party: Party): Promise<void> {
    const begun = performance.now();
    for (;;) {
      const { failure, cleanUp: cleaned } = await end(this.upstream, party.lessee, party.roles);
      party.isEnded = failure === undefined;
      party.isCleanedUp = cleaned === 'done';
      if (party.isEnded) return;
      if (performance.now() - begun < stubbornLimitMs) continue;
      this.findings.push(`the end of ${party.whose} still fails ${after(begun)}: ${failure ?? ''}`);
      return;
    }
  }

  async #end(party: Party, limitMs: number): Promise<void> {
    const { whose, lessee, roles } = party;
    const found = await end(this.upstream, lessee, roles);
    this.ends.push({ whose, ...found });
    if (found.failure !== undefined) {
      this.findings.push(
        `the end of ${whose} failed after ${found.answeredMs.toFixed(0)} ms: ${found.failure}`,
      );
    } else if (found.accessEndedMs === undefined) {
      this.findings.push(`the end of ${whose} was answered while its access went on`);
    } else {
      this.#expectWithin(`the end of the access of ${whose}`, found.accessEndedMs, limitMs);
    }
    if (found.failure === undefined) party.isEnded = true;
    else await this.#giveUp(party);
    party.isCleanedUp = found.cleanUp === 'done';
    if (await this.#canLogIn(lessee)) this.findings.push(`${whose} can log in after its end`);
  }

  /** For the rest of the run to say something: what could not be ended is ended once its owner has let go. */
  async #giveUp(party: Party): Promise<void> {
    await party.lessee.stop();
    const { failure } = await end(this.upstream, party.lessee, party.roles);
    if (failure === undefined) party.isEnded = true;
    else this.findings.push(`the end of ${party.whose} failed even when it had let go: ${failure}`);
  }

  async #canLogIn(lessee: Lessee): Promise<boolean> {
    try {
      await (await lessee.session()).leave();
      return true;
    } catch {
      return false;
    }
  }

  async #cleanUp(party: Party, when: keyof typeof cleanUpLimitMs): Promise<void> {
    if (party.isCleanedUp || !party.isEnded) return;
    const begun = performance.now();
    const why = await cleanUp(this.upstream.broker, party.lessee.lease, cleanUpLimitMs[when]);
    party.isCleanedUp = why === undefined;
    if (why !== undefined && when !== 'once')
      this.findings.push(`the clean-up of ${party.whose} is not done ${after(begun)}: ${why}`);
  }

  async #checkWhatIsLeft(stage: Stage, later: Party | undefined): Promise<void> {
    await Promise.all(this.#parties.map(({ lessee }) => lessee.outlasted()));
    const ended = this.#parties.filter((party) => party.isEnded);
    const left = await leftovers(
      this.upstream,
      ended.map(({ roles }) => roles),
      later?.roles,
    );
    this.findings.push(...left.map((what) => `left: ${what}`));
    await this.stop();
    for (const { whose, lessee } of this.#parties) {
      if (lessee.hasWorkedTooLate) this.findings.push(`${whose} worked on after its end`);
    }
    const listed = await this.upstream.broker.list();
    if (listed.length > 0) this.findings.push(`${listed.length} leases are still listed`);
    const inspected = await this.upstream.broker.inspect(stage.lessee.lease);
    if (inspected !== 'absent') this.findings.push(`the attacker's lease is found ${inspected}`);
    this.findings.push(...((await this.attack.also?.(stage)) ?? []));
  }

  #expectWithin(what: string, tookMs: number, limitMs: number): void {
    if (tookMs > limitMs) this.findings.push(`${what} took ${tookMs.toFixed(0)} ms`);
  }
}

function after(begun: number): string {
  return `after ${(performance.now() - begun).toFixed(0)} ms`;
}
