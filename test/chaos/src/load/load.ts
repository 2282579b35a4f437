/**
 * Agents that ask for credentials as fast as the machine lets them, up to a rate. Where it lets them less, the rate goes down
 * until answers are quick again: a suite that only tests its own overload proves nothing.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { IdentityIssuer } from '@mayfly/stack';
import { AskAgain, agentClaims, ChaosAgent, openSession } from './agent.ts';
import { hostileOrchestration, type HostileLessees } from './hostile/hostile-lessees.ts';
import type { HttpClient } from './http-client.ts';
import type { CredentialKind, HeldCredential, Ledger, Party } from './ledger.ts';
import type { Random } from './random.ts';

export interface LoadOptions {
  readonly http: HttpClient;
  readonly issuer: IdentityIssuer;
  readonly ledger: Ledger;
  readonly random: Random;
  /** Most mints per second. */
  readonly rate: number;
  readonly agents: number;
  /** Which part of the agents is hostile, and what then becomes of their leases upstream. */
  readonly hostileShare: number;
  readonly lessees: Pick<HostileLessees, 'take'>;
  /** Which part of the credentials leaves something upstream. */
  readonly postgresShare: number;
  /** Shortest and longest TTL, in seconds. */
  readonly ttlSeconds: readonly [number, number];
  /** Told of a credential of which Mayfly has just said that it is over. */
  readonly onRevoked: (credential: HeldCredential) => void;
}

/** Above this median the load slows down. Milliseconds. */
const slowMs = 400;
const leastRate = 10;
const share = { renewed: 0.12, renewedAgain: 0.5, givenBack: 0.12, sessionRevoked: 0.01 };

export class Load {
  #rate: number;
  #nextSlot = 0;
  #stopping = false;
  #asked = 0;
  readonly #renewals = { postgres: 0, jwt: 0 };
  #latencies: number[] = [];
  #administrator: string | undefined;
  #running: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  readonly #failures = { honest: new Map<string, number>(), hostile: new Map<string, number>() };

  constructor(private readonly options: LoadOptions) {
    this.#rate = options.rate;
  }

  /** Renewals that were answered: in place for `postgres`, by a successor for `jwt`. */
  get renewals(): Readonly<Record<CredentialKind, number>> {
    return this.#renewals;
  }

  /** How many times a credential was asked for, with or without success. */
  get asked(): number {
    return this.#asked;
  }

  /** What agents were told instead of a credential, by code, with how often. */
  get failures(): Readonly<Record<Party, ReadonlyMap<string, number>>> {
    return this.#failures;
  }

  start(): void {
    const { agents } = this.options;
    this.#nextSlot = performance.now();
    this.#timer = setInterval(() => this.#adapt(), 1_000);
    this.#running = Promise.all(Array.from({ length: agents }, (_, index) => this.#work(this.#agent(index))));
  }

  /** The hostile ones are spread evenly among the agents. */
  #agent(index: number): ChaosAgent {
    const { http, issuer, hostileShare } = this.options;
    const hostileBefore = Math.floor(index * hostileShare);
    const isHostile = Math.floor((index + 1) * hostileShare) > hostileBefore;
    const name = `agent-${String(index)}`;
    const claims = isHostile ? agentClaims(name, hostileOrchestration(hostileBefore)) : agentClaims(name);
    return new ChaosAgent(http, issuer, claims, index % 4 < 2, isHostile ? 'hostile' : 'honest');
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#timer);
    await this.#running;
  }

  /** The kinds of credential that agents ask for. */
  get kinds(): readonly CredentialKind[] {
    const { postgresShare } = this.options;
    return [
      ...(postgresShare > 0 ? (['postgres'] as const) : []),
      ...(postgresShare < 1 ? (['jwt'] as const) : []),
    ];
  }

  /** Resolves when a credential, of that kind, has been issued to an honest agent that was asked for after this call. */
  async untilIssued(deadlineMs: number, kind?: CredentialKind): Promise<boolean> {
    const from = Date.now();
    const { ledger } = this.options;
    while (Date.now() - from < deadlineMs) {
      const last = ledger
        .all()
        .findLast((held) => held.party === 'honest' && (kind === undefined || held.kind === kind));
      // 50 ms: what was under way at the call does not count.
      if ((last?.receivedAt ?? 0) > from + 50) return true;
      await sleep(25);
    }
    return false;
  }

  async #work(agent: ChaosAgent): Promise<void> {
    const { ledger, random, ttlSeconds } = this.options;
    while (!this.#stopping) {
      await this.#slot();
      if (this.#stopping) return;
      try {
        await agent.open();
        this.#asked++;
        const started = performance.now();
        const kind = random.next() < this.options.postgresShare ? 'postgres' : 'jwt';
        const credential = await agent.ask(kind, random.between(...ttlSeconds));
        this.#latencies.push(performance.now() - started);
        ledger.add(credential);
        if (agent.party === 'hostile' && kind === 'postgres') this.options.lessees.take(credential);
        const last = random.next() < share.renewed ? await this.#renew(agent, credential) : credential;
        await this.#end(agent, last);
      } catch (error) {
        const code = error instanceof AskAgain ? error.code : (error as Error).name;
        const failures = this.#failures[agent.party];
        failures.set(code, (failures.get(code) ?? 0) + 1);
        await sleep(150 + 300 * random.next());
      }
    }
  }

  /** For longer than it has, soon or after a while, and then perhaps again. The one that it is in the end. */
  async #renew(agent: ChaosAgent, credential: HeldCredential): Promise<HeldCredential> {
    const { ledger, random } = this.options;
    let last = credential;
    do {
      await sleep(random.between(0, 1_000));
      const secondsLeft = Math.max(0, Math.ceil((last.expiresAt - Date.now()) / 1000));
      const successor = await agent.renew(last, secondsLeft + random.between(2, 4));
      this.#renewals[last.kind]++;
      if (successor === undefined) continue;
      ledger.add(successor);
      last = successor;
    } while (random.next() < share.renewedAgain);
    return last;
  }

  /** Some are given back at once, some sessions are ended by an administrator, with all that they hold. */
  async #end(agent: ChaosAgent, credential: HeldCredential): Promise<void> {
    const chance = this.options.random.next();
    if (chance < share.givenBack) {
      const outcome = await agent.giveBack(credential.leaseId);
      if (outcome === 'revoked') {
        credential.revokedAt = Date.now();
        this.options.onRevoked(credential);
      }
    } else if (chance < share.givenBack + share.sessionRevoked && agent.sessionId !== undefined) {
      await this.#revoke({ kind: 'session', id: agent.sessionId });
    }
  }

  async #revoke(subject: { kind: string; id: string }): Promise<void> {
    const { http, issuer } = this.options;
    this.#administrator ??= (
      await openSession(http, issuer, {
        kind: 'person',
        email: 'grace@example.com',
        groups: ['administrators'],
      })
    ).token;
    const { status } = await http.call({
      method: 'POST',
      path: '/v1/revocations',
      token: this.#administrator,
      json: { subject, reason: 'chaos' },
    });
    if (status === 401) this.#administrator = undefined;
  }

  /** Waits for the next of `rate` places in a second; what was missed is not made up for. */
  async #slot(): Promise<void> {
    const now = performance.now();
    this.#nextSlot = Math.max(this.#nextSlot + 1_000 / this.#rate, now - 50);
    if (this.#nextSlot > now) await sleep(this.#nextSlot - now);
  }

  #adapt(): void {
    const latencies = this.#latencies.sort((a, b) => a - b);
    this.#latencies = [];
    const median = latencies[Math.floor(latencies.length / 2)];
    if (median === undefined) return;
    this.#rate =
      median > slowMs
        ? Math.max(leastRate, this.#rate * 0.8)
        : Math.min(this.options.rate, this.#rate * 1.5 + 1);
  }
}
