/** What happens to signals during `mayfly exec`: before the child they stop the mint, during it they are passed on, after it they cut the waiting short. */
import type { Io, RelayedSignal } from '../io.ts';

/** Why a phase was given up. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  constructor(readonly signal: RelayedSignal) {
    super(signal);
  }
}

export class SignalRelay {
  readonly #beforeChild = new AbortController();
  readonly #afterChild = new AbortController();
  readonly #unsubscribe: () => void;
  #phase: 'before' | 'after' | ((signal: RelayedSignal) => void) = 'before';

  constructor(io: Pick<Io, 'onSignal'>) {
    this.#unsubscribe = io.onSignal((signal) => {
      this.#receive(signal);
    });
  }

  /** Aborted, with an `Interrupted`, by a signal that came before the child. */
  get beforeChild(): AbortSignal {
    return this.#beforeChild.signal;
  }

  /** Aborted by a signal while leases are given back. */
  get afterChild(): AbortSignal {
    return this.#afterChild.signal;
  }

  passOnTo(receiver: (signal: RelayedSignal) => void): void {
    this.#phase = receiver;
  }

  childEnded(): void {
    this.#phase = 'after';
  }

  stop(): void {
    this.#unsubscribe();
  }

  #receive(signal: RelayedSignal): void {
    if (this.#phase === 'before') {
      this.#beforeChild.abort(new Interrupted(signal));
      // One is enough to stop minting; a second one cuts giving back short.
      this.#phase = 'after';
    } else if (this.#phase === 'after') this.#afterChild.abort(new Interrupted(signal));
    else this.#phase(signal);
  }
}
