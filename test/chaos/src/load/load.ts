/**
 * Agents that ask for credentials as fast as the machine lets them, up to a rate. Where it lets them less, the rate goes down
 * until answers are quick again: a suite that only tests its own overload proves nothing.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { IdentityIssuer } from '@mayfly/stack';
import { AskAgain, ChaosAgent, openSession } from './agent.ts';
import type { HttpClient } from './http-client.ts';
import type { CredentialKind, HeldCredential, Ledger } from './ledger.ts';
import type { Random } from './random.ts';

export interface LoadOptions {
  readonly http: HttpClient;
  readonly issuer: IdentityIssuer;
  readonly ledger: Ledger;
  readonly random: Random;
  /** Most mints per second. */
  readonly rate: number;
  readonly agents: number;
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
  readonly #failures = new Map<string, number>();

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
  get failures(): ReadonlyMap<string, number> {
    return this.#failures;
  }

  start(): void {
    const { http, issuer, agents } = this.options;
    this.#nextSlot = performance.now();
    this.#timer = setInterval(() => this.#adapt(), 1_000);
    this.#running = Promise.all(
      Array.from({ length: agents }, (_, index) =>
        this.#work(new ChaosAgent(http, issuer, `agent-${String(index)}`, index % 2 === 0)),
      ),
    );
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#timer);
    await this.#running;
  }

  /** Resolves when a credential has been issued that was asked for after this call. */
  async untilIssued(deadlineMs: number): Promise<boolean> {
    const from = Date.now();
    const { ledger } = this.options;
    while (Date.now() - from < deadlineMs) {
      // 50 ms: what was under way at the call does not count.
      if ((ledger.all().at(-1)?.receivedAt ?? 0) > from + 50) return true;
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
        const last = random.next() < share.renewed ? await this.#renew(agent, credential) : credential;
        await this.#end(agent, last);
      } catch (error) {
        const code = error instanceof AskAgain ? error.code : (error as Error).name;
        this.#failures.set(code, (this.#failures.get(code) ?? 0) + 1);
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
