/**
 * Tries every credential that left, once its time is over: connects to the database, or asks as a tool would. What still
 * works then is a violation. Nothing is concluded from a server that is down: that one is tried again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { HttpClient } from '../load/http-client.ts';
import type { HeldCredential, Ledger } from '../load/ledger.ts';
import { graceMs, type FaultLog } from './fault-log.ts';
import type { Register } from './register.ts';

export interface StillWorksOptions {
  readonly ledger: Ledger;
  readonly faults: FaultLog;
  readonly http: HttpClient;
  readonly register: Pick<Register, 'expiryOf'>;
  /** A session token of a tool of the same organization. */
  readonly toolToken: () => Promise<string>;
}

type Answer = 'works' | 'dead' | 'unknown';

const probesAtOnce = 8;
/** Sessions that are kept open over the end of their lease: so many at a time. */
const heldOpenAtOnce = 12;

export class StillWorks {
  readonly violations: string[] = [];
  /** Credentials that were found dead after their time. */
  tried = 0;
  /** Sessions that were open when their lease ended, and were found cut. */
  cut = 0;
  readonly #waiting: HeldCredential[] = [];
  readonly #open = new Map<string, pg.Client>();
  #stopping = false;
  #running: Promise<unknown> = Promise.resolve();
  #inHand = 0;

  constructor(private readonly options: StillWorksOptions) {
    options.ledger.onAdded((credential) => {
      this.#waiting.push(credential);
      // Hostile ones keep sessions of their own, and leave no room for this one.
      const isToBeHeld = credential.kind === 'postgres' && credential.party === 'honest';
      if (isToBeHeld && this.#open.size < heldOpenAtOnce) void this.#hold(credential);
    });
  }

  start(): void {
    this.#running = Promise.all(Array.from({ length: probesAtOnce }, () => this.#probeAll()));
  }

  /** How many are not tried yet. */
  get pending(): number {
    return this.#waiting.length + this.#inHand;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
    await Promise.all([...this.#open.values()].map((client) => client.end().catch(() => undefined)));
  }

  /** Mayfly has just said that it is over: it must be over now, whatever its expiry. */
  async checkRevoked(credential: HeldCredential): Promise<void> {
    if (credential.kind === 'postgres' && (await this.#try(credential)) === 'works')
      this.violations.push(`${credential.leaseId} works although its holder was told that it is revoked`);
  }

  async #hold({ leaseId, secret }: HeldCredential): Promise<void> {
    const client = new pg.Client({
      connectionString: secret,
      connectionTimeoutMillis: 2_000,
      query_timeout: 2_000,
    });
    client.on('error', () => undefined);
    this.#open.set(leaseId, client);
    await client.connect().catch(() => this.#open.delete(leaseId));
  }

  async #probeAll(): Promise<void> {
    while (!this.#stopping) {
      const credential = this.#next();
      if (credential === undefined) {
        await sleep(50);
        continue;
      }
      this.#inHand++;
      try {
        await this.#probe(credential);
      } finally {
        this.#inHand--;
      }
    }
  }

  /** The first whose time is over; they come nearly in order. Nobody is tried while something is broken. */
  #next(): HeldCredential | undefined {
    if (this.options.faults.isActive()) return undefined;
    const now = Date.now();
    const index = this.#waiting.findIndex(
      ({ expiresAt }, place) => place < 400 && this.options.faults.healthyBetween(expiresAt, now) > graceMs,
    );
    return index < 0 ? undefined : this.#waiting.splice(index, 1)[0];
  }

  async #probe(credential: HeldCredential): Promise<void> {
    const { faults } = this.options;
    const known = await this.#learnExpiry(credential);
    const answer = known ? await this.#try(credential) : 'unknown';
    const now = Date.now();
    if (answer === 'unknown' || faults.healthyBetween(credential.expiresAt, now) <= graceMs) {
      this.#waiting.push(credential);
      await sleep(200);
      return;
    }
    this.tried++;
    const late = ((now - credential.expiresAt) / 1000).toFixed(1);
    if (answer === 'works')
      this.violations.push(`${credential.kind} ${credential.leaseId} works ${late} s after its expiry`);
    const open = this.#open.get(credential.leaseId);
    if (open === undefined) return;
    const stillOpen = await open.query('SELECT 1').then(
      () => true,
      () => false,
    );
    this.#open.delete(credential.leaseId);
    void open.end().catch(() => undefined);
    if (stillOpen)
      this.violations.push(`a session of ${credential.leaseId} is open ${late} s after its expiry`);
    else this.cut++;
  }

  /**
   * Where its holder does not know whether it was renewed, the register does: an end that is over there is not moved any more, and
   * this is asked after the one that the holder knows of. False when the register can't be read.
   */
  async #learnExpiry(credential: HeldCredential): Promise<boolean> {
    if (credential.renewalUnknown !== true) return true;
    try {
      const expiresAt = await this.options.register.expiryOf(credential.leaseId);
      credential.expiresAt = Math.max(credential.expiresAt, expiresAt ?? 0);
      credential.renewalUnknown = false;
      return true;
    } catch {
      return false;
    }
  }

  #try(credential: HeldCredential): Promise<Answer> {
    return credential.kind === 'postgres' ? tryLogin(credential.secret) : this.#introspect(credential.secret);
  }

  async #introspect(token: string): Promise<Answer> {
    try {
      const { status, body } = await this.options.http.call({
        method: 'POST',
        path: '/v1/introspect',
        token: await this.options.toolToken(),
        form: { token },
        timeoutMs: 5_000,
      });
      if (status !== 200) return 'unknown';
      return body['active'] === true ? 'works' : 'dead';
    } catch {
      return 'unknown';
    }
  }
}

/**
 * Refused by name or password (SQLSTATE class 28) is dead. Too many connections of this very role, as a hostile lessee keeps, is
 * said of a role that may log in. Anything else says nothing.
 */
async function tryLogin(url: string): Promise<Answer> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 2_000,
    query_timeout: 2_000,
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('SELECT count(*) FROM public.orders');
    return 'works';
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code?.startsWith('28') === true) return 'dead';
    return message.startsWith('too many connections for role') ? 'works' : 'unknown';
  } finally {
    await client.end().catch(() => undefined);
  }
}
