/** A line of progress that is redrawn in place, on a terminal only. */
import type { TextSink } from '../io.ts';
import { visible } from './visible.ts';

const width = 28;

export class ProgressBar {
  #shown = false;

  constructor(private readonly sink: TextSink) {}

  /** Draws it anew; empty while the `total` is not known. `text` is short. */
  show(done: number, total: number | undefined, text: string): void {
    const filled = total === undefined || total === 0 ? 0 : Math.floor((width * done) / total);
    this.sink.write(`\r\u001b[2K[${'█'.repeat(filled)}${'░'.repeat(width - filled)}] ${visible(text)}`);
    this.#shown = true;
  }

  /** Takes it away, so that a line can be written; the next `show` draws it again. */
  clear(): void {
    if (this.#shown) this.sink.write('\r\u001b[2K');
    this.#shown = false;
  }
}
