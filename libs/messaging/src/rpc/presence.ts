/**
 * Whether the services that this one calls are there.
 *
 * A request to a service that has died, or hangs, would wait for its whole timeout, up to 30 s, and hold its place at the gateway for as
 * long: after a second or two everybody is refused, and still is when the service has long been back. nats-server says at once that nobody
 * listens, but not from one account to another before 2.10, and never of a request that was delivered to a process that then died.
 *
 * So whoever waits asks: is anybody there who was there when I sent this? Every replica that was answers at once, whatever else it does. When
 * none does, whoever had the request is gone. Then what waits fails, with an unknown outcome, as after a timeout. When nobody answers at
 * all, the service is away: what would begin waits a moment for it and is refused, until the question is answered.
 */
import { MayflyError, presenceSubject, type ServiceName } from '@mayfly/contracts';
import type { NatsConnection } from '@nats-io/transport-node';
import { isConnected } from '../connection.ts';
import { request } from '../request.ts';
import { readWholeNumber } from './wire.ts';

/** Once a call has waited for so many milliseconds, and then each time so many have passed, it is asked whether its service is there. */
const suspectAfterMs = 250;
/** Longest wait for the answer, in milliseconds. It needs no work, so only a process that hangs is slower. */
const answerWithinMs = 750;
/** Pause between the questions while a service is away, in milliseconds; the earlier ones are still waited for. */
const againAfterMs = 100;
/** Longest that a call waits for a service that is away to come back, in milliseconds: longer than it takes to find out that it is back. */
const comeBackWithinMs = 500;

interface Peer {
  /** For each call that waits for its answer, the oldest first: ends it, and when it was sent (monotonic, in milliseconds). */
  readonly waiting: Map<(error: MayflyError) => void, number>;
  /** Settles when it is back; `undefined` while it is there. */
  back: Promise<void> | undefined;
  isWatched: boolean;
}

export class Presence {
  readonly #peers = new Map<ServiceName, Peer>();

  /** @param onChange Told when a service is found to be away, and when it is back. */
  constructor(
    private readonly connection: NatsConnection,
    private readonly onChange: (service: ServiceName, isAway: boolean) => void = () => undefined,
  ) {}

  /**
   * Makes a call of the service. Throws `dependency_unavailable` when the service is away and is not back in a moment, and as soon as it turns
   * out that whoever had the call is gone; then its outcome is unknown.
   */
  async whileThere<T>(service: ServiceName, call: () => Promise<T>): Promise<T> {
    const peer = this.#peer(service);
    // Where the bus is down, the call itself says so.
    if (peer.back !== undefined && isConnected(this.connection)) {
      await Promise.race([peer.back, pause(comeBackWithinMs)]);
      if (peer.back !== undefined) throw gone(service);
    }
    let giveUp: (error: MayflyError) => void = () => undefined;
    const givenUp = new Promise<never>((_, reject) => (giveUp = reject));
    peer.waiting.set(giveUp, performance.now());
    if (!peer.isWatched) this.#watchSoon(service, peer);
    try {
      return await Promise.race([call(), givenUp]);
    } finally {
      peer.waiting.delete(giveUp);
    }
  }

  #peer(service: ServiceName): Peer {
    const known = this.#peers.get(service);
    if (known !== undefined) return known;
    const peer: Peer = { waiting: new Map(), back: undefined, isWatched: false };
    this.#peers.set(service, peer);
    return peer;
  }

  /** Keeps no process alive. */
  #watchSoon(service: ServiceName, peer: Peer): void {
    peer.isWatched = true;
    setTimeout(() => void this.#watch(service, peer), suspectAfterMs).unref();
  }

  /** Never rejects. */
  async #watch(service: ServiceName, peer: Peer): Promise<void> {
    const [oldest] = peer.waiting.values();
    if (oldest !== undefined && performance.now() - oldest >= suspectAfterMs)
      await this.#lookFor(service, peer, oldest);
    if (peer.waiting.size > 0) this.#watchSoon(service, peer);
    else peer.isWatched = false;
  }

  /** Two questions without an answer, because after one it may be the asker who was held up. */
  async #lookFor(service: ServiceName, peer: Peer, oldest: number): Promise<void> {
    if ((await this.#ask(service, oldest)) !== 'silence') return;
    const start = await this.#ask(service, undefined);
    if (start === 'silence') await this.#isAway(service, peer);
    else if (start !== 'unknown' && (await this.#ask(service, oldest)) === 'silence')
      this.#giveUp(service, peer, start);
  }

  async #isAway(service: ServiceName, peer: Peer): Promise<void> {
    this.onChange(service, true);
    peer.back = this.#untilBack(service);
    this.#giveUp(service, peer, Infinity);
    await peer.back;
    peer.back = undefined;
    this.onChange(service, false);
  }

  #untilBack(service: ServiceName): Promise<void> {
    return new Promise((resolve) => {
      const ask = () => {
        if (this.connection.isClosed()) clearInterval(asking);
        void this.#ask(service, undefined).then((start) => {
          if (typeof start !== 'number') return;
          clearInterval(asking);
          resolve();
        });
      };
      const asking = setInterval(ask, againAfterMs).unref();
      ask();
    });
  }

  /** Ends the calls that were sent before a moment. */
  #giveUp(service: ServiceName, peer: Peer, before: number): void {
    for (const [giveUp, sentAt] of peer.waiting) if (sentAt < before) giveUp(gone(service));
  }

  /**
   * When a replica became reachable, or a little before, as this process counts the time; one that was by `by`. `unknown` where the question
   * can't be asked: the bus is down, and calls find that out by themselves, or it forbids the question.
   */
  async #ask(service: ServiceName, by: number | undefined): Promise<number | 'silence' | 'unknown'> {
    const now = performance.now();
    const upForMs = by === undefined ? 0 : Math.ceil(now - by);
    try {
      const answer = await request(this.connection, presenceSubject(service), String(upForMs), {
        what: service,
        timeoutMs: answerWithinMs,
      });
      return now - (readWholeNumber(answer.string()) ?? upForMs);
    } catch (error) {
      const isForbidden = error instanceof MayflyError && error.code !== 'dependency_unavailable';
      return isForbidden || !isConnected(this.connection) ? 'unknown' : 'silence';
    }
  }
}

function gone(service: ServiceName): MayflyError {
  return new MayflyError(
    'dependency_unavailable',
    `${service} does not answer; it is tried again in a moment`,
  );
}

/** Keeps no process alive. */
function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds).unref());
}
