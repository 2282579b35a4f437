/**
 * The bound on the memory of answers that their clients have not read. Whoever asks for a list and does not read it has the gateway keep it,
 * and may ask for many: one after the other on a connection without waiting, and on many connections. An answer is never held back for want of
 * room: the one that has waited the longest of whoever has the most is given up, with its connection.
 */
export interface UnreadAnswerLimits {
  /** Bytes altogether. */
  readonly most: number;
  /** Bytes for one source. */
  readonly mostOfSource: number;
}

interface UnreadAnswer {
  readonly source: string;
  readonly bytes: number;
  readonly cutOff: () => void;
}

interface Held {
  bytes: number;
  readonly answers: Set<UnreadAnswer>;
}

export class UnreadAnswers {
  readonly #ofSource = new Map<string, Held>();
  #bytes = 0;

  constructor(private readonly limits: UnreadAnswerLimits) {}

  /** Counts an answer until the function that comes back is called. `cutOff` ends its connection when the bound is passed. */
  expect(source: string, bytes: number, cutOff: () => void): () => void {
    const answer = { source, bytes, cutOff };
    const held = this.#ofSource.get(source) ?? { bytes: 0, answers: new Set() };
    this.#ofSource.set(source, held);
    held.answers.add(answer);
    held.bytes += bytes;
    this.#bytes += bytes;
    while (held.bytes > this.limits.mostOfSource && held.answers.size > 1) this.#cutOldest(held);
    while (this.#bytes > this.limits.most && this.#cutOldest(this.#largest()));
    return () => this.#release(answer);
  }

  #largest(): Held | undefined {
    let largest: Held | undefined;
    for (const held of this.#ofSource.values()) if (held.bytes > (largest?.bytes ?? 0)) largest = held;
    return largest;
  }

  #cutOldest(held: Held | undefined): boolean {
    // Sets keep the order of insertion.
    const oldest = held?.answers.values().next().value;
    if (oldest === undefined) return false;
    this.#release(oldest);
    oldest.cutOff();
    return true;
  }

  #release(answer: UnreadAnswer): void {
    const held = this.#ofSource.get(answer.source);
    if (held?.answers.delete(answer) !== true) return;
    held.bytes -= answer.bytes;
    this.#bytes -= answer.bytes;
    if (held.answers.size === 0) this.#ofSource.delete(answer.source);
  }
}
