/**
 * Reads one revocation for as long as there is time. The revocation is durable and goes on by itself, so nothing that may pass
 * ends the reading: a gateway that restarts, a session that is over, an order of `mayfly apply` that is still on its way.
 */
import { http, type OutputOf, type RawInputOf } from '@mayfly/contracts';
import { hasEnded, type Session } from '../api/session.ts';
import { asFailure, mayPass, type CommandFailure } from '../failure.ts';
import type { Io } from '../io.ts';

const { getRevocation } = http.administration;

type Page = Omit<RawInputOf<typeof getRevocation>, 'revocation_id'>;

/** Between two looks, and between two attempts. Milliseconds. */
const pauseMs = 500;
/** How long an id may be unknown: `mayfly apply` names revocations before the event that orders them has arrived. Milliseconds. */
const mayBeUnknownMs = 30_000;
/** Longer than the gateway waits for the answer, and short enough to ask again soon when it hangs. Milliseconds. */
const answerWithinMs = 15_000;
const answerWithinAtLeastMs = 2_000;

export interface Sessions {
  readonly session: Session;
  /** Another one, for when that is over. */
  readonly open: (signal: AbortSignal) => Promise<Session>;
}

export interface ReaderOptions extends Sessions {
  readonly io: Pick<Io, 'now' | 'pause'>;
  readonly revocationId: string;
  readonly timeoutSeconds: number;
  /** Ends the reading at once; it then rejects with the signal's reason. */
  readonly signal: AbortSignal;
  /** Why there is no answer yet; called once for each of the two: it is not known, the gateway does not answer. */
  readonly waiting: (failure: CommandFailure) => void;
}

export class PatientReader {
  readonly #options: ReaderOptions;
  readonly #deadline: number;
  readonly #told = new Set<boolean>();
  #session: Session;
  #unknownSince: number | undefined;

  constructor(options: ReaderOptions) {
    this.#options = options;
    this.#session = options.session;
    this.#deadline = this.#now + options.timeoutSeconds * 1000;
  }

  get isTimeUp(): boolean {
    return this.#now >= this.#deadline;
  }

  /** @throws CommandFailure for what will not pass, and for what has not passed in time. */
  async read(page: Page): Promise<OutputOf<typeof getRevocation>> {
    for (;;) {
      try {
        return await this.#ask(page);
      } catch (error) {
        this.#options.signal.throwIfAborted();
        const failure = asFailure(error);
        if (this.isTimeUp || !this.#isWorthWaiting(failure)) throw failure;
        this.#tell(failure);
      }
      await this.pause();
    }
  }

  async pause(): Promise<void> {
    const { io, signal } = this.#options;
    await io.pause(pauseMs, signal);
    signal.throwIfAborted();
  }

  async #ask(page: Page): Promise<OutputOf<typeof getRevocation>> {
    const { revocationId, signal, open } = this.#options;
    const left = Math.min(answerWithinMs, this.#deadline - this.#now);
    const limits = { signal, timeoutMs: Math.max(answerWithinAtLeastMs, left) };
    const input = { revocation_id: revocationId, ...page };
    try {
      return await this.#session.call(getRevocation, input, limits);
    } catch (error) {
      // A session lives for an hour at most, a wait for as long as it is told to.
      if (!hasEnded(error)) throw error;
      this.#session = await open(signal);
      return await this.#session.call(getRevocation, input, limits);
    }
  }

  #isWorthWaiting(failure: CommandFailure): boolean {
    if (failure.code !== 'not_found') return mayPass(failure);
    this.#unknownSince ??= this.#now;
    return this.#now - this.#unknownSince < mayBeUnknownMs;
  }

  #tell(failure: CommandFailure): void {
    const isUnknown = failure.code === 'not_found';
    if (this.#told.has(isUnknown)) return;
    this.#told.add(isUnknown);
    this.#options.waiting(failure);
  }

  get #now(): number {
    return this.#options.io.now().getTime();
  }
}
