/**
 * Ends that are done at the provider, written to the register together: while one statement is under way, all that
 * finish meanwhile wait for the next, as in a group commit. One alone is written at once.
 */
import { context, type Context } from '@opentelemetry/api';

interface Pending<Item> {
  readonly item: Item;
  readonly within: Context;
  readonly resolve: (written: boolean) => void;
  readonly reject: (error: unknown) => void;
}

/** Most ends in one statement. */
const mostAtOnce = 200;

export class Completions<Item extends { readonly leaseId: string }> {
  #pending: Pending<Item>[] = [];
  #writing = false;

  /** @param write Answers with the ids of those that it wrote; the others were written before. */
  constructor(private readonly write: (items: readonly Item[]) => Promise<ReadonlySet<string>>) {}

  /** Whether it was this end that was written. Rejects when it is not known. */
  add(item: Item): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ item, within: context.active(), resolve, reject });
      if (!this.#writing) void this.#writeAll();
    });
  }

  async #writeAll(): Promise<void> {
    this.#writing = true;
    while (this.#pending.length > 0) {
      const batch = this.#pending.splice(0, mostAtOnce);
      const [first] = batch;
      if (first === undefined) break;
      try {
        // Its span can hang under one of them only.
        const written = await context.with(first.within, () => this.write(batch.map(({ item }) => item)));
        for (const { item, resolve } of batch) resolve(written.has(item.leaseId));
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#writing = false;
  }
}
