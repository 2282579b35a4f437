/**
 * The one way by which the command prints: results to stdout, notes to stderr, colour only on a terminal. All text is made visible here,
 * whoever passes it; only colours and the bar's own control characters are added afterwards.
 */
import pc from 'picocolors';
import type { Io, TextSink } from '../io.ts';
import type { CommandFailure } from '../failure.ts';
import { ProgressBar } from './progress-bar.ts';
import { visible, visibleJson, visibleLines } from './visible.ts';

type Colours = ReturnType<typeof pc.createColors>;

export class Printer {
  readonly #io: Pick<Io, 'stdout' | 'stderr' | 'env' | 'ask'>;
  readonly #colours: Colours;
  readonly #noteColours: Colours;

  constructor(io: Pick<Io, 'stdout' | 'stderr' | 'env' | 'ask'>) {
    this.#io = io;
    this.#colours = coloursFor(io.stdout, io.env);
    this.#noteColours = coloursFor(io.stderr, io.env);
  }

  /** A line of a result. */
  line(text: string): void {
    this.#io.stdout.write(`${visible(text)}\n`);
  }

  /** A result of several lines, which ends where it should. */
  lines(text: string): void {
    this.#io.stdout.write(visibleLines(text));
  }

  /**
   * What a program reads back, and so must get as it is: a shell, a reader of `.env` files, `> mayfly.yaml`. A terminal gets it made
   * visible, since there it is for a person.
   */
  exact(text: string): void {
    const ended = text.endsWith('\n') ? text : `${text}\n`;
    this.#io.stdout.write(this.#io.stdout.isTerminal ? visibleLines(ended) : ended);
  }

  /** A line of a result in a colour, where there are any. */
  coloured(colour: 'red' | 'green' | 'dim' | undefined, text: string): void {
    const shown = visible(text);
    this.#io.stdout.write(`${colour === undefined ? shown : this.#colours[colour](shown)}\n`);
  }

  json(value: unknown): void {
    this.#io.stdout.write(`${visibleJson(value, 2)}\n`);
  }

  /** One JSON value on one line, as part of a stream of them. */
  jsonLine(value: unknown): void {
    this.#io.stdout.write(`${visibleJson(value)}\n`);
  }

  /** Something to know beside the result; never part of it. */
  note(sentence: string): void {
    this.#io.stderr.write(`${this.#noteColours.dim(`mayfly: ${visible(sentence)}`)}\n`);
  }

  /** What the reader of the command line has to say of wrong arguments: several lines, which end where they should. */
  usage(text: string): void {
    this.#io.stderr.write(visibleLines(text));
  }

  failure({ sentence, next, traceId, code }: CommandFailure): void {
    const { red, dim } = this.#noteColours;
    const named = code === undefined ? '' : ` ${dim(`(${code})`)}`;
    this.#io.stderr.write(`${red('mayfly:')} ${visible(sentence)}${named}\n`);
    if (next !== undefined) this.#io.stderr.write(`  ${visible(next)}\n`);
    if (traceId !== undefined) this.#io.stderr.write(`  ${dim(`trace ${visible(traceId)}`)}\n`);
  }

  /** Columns as wide as their widest cell, two spaces between them. Without rows: `empty`, as a note. */
  table(header: readonly string[], rows: readonly (readonly string[])[], empty: string): void {
    if (rows.length === 0) {
      this.note(empty);
      return;
    }
    // Escapes are longer than what they stand for, so the widths are those of the visible text.
    const [head = '', ...lines] = alignedLines([header, ...rows].map((row) => row.map(visible)));
    this.#io.stdout.write(`${[this.#colours.dim(head), ...lines].join('\n')}\n`);
  }

  /** Beside the result, on a terminal only: undefined elsewhere. */
  progressBar(): ProgressBar | undefined {
    return this.#io.stderr.isTerminal ? new ProgressBar(this.#io.stderr) : undefined;
  }

  /** Asks on the terminal and gives the line that is typed; empty when the input ends. */
  ask(question: string): Promise<string> {
    return this.#io.ask(visible(question));
  }
}

/** Rows as lines with aligned columns. */
function alignedLines(rows: readonly (readonly string[])[]): string[] {
  const widths = rows.reduce<number[]>(
    (known, row) => row.map((cell, column) => Math.max(known[column] ?? 0, [...cell].length)),
    [],
  );
  return rows.map((row) =>
    row
      .map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - [...cell].length))
      .join('  ')
      .trimEnd(),
  );
}

/** https://no-color.org: any value that is not empty turns colour off. */
function coloursFor(sink: TextSink, env: Io['env']): Colours {
  const refused = (env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb';
  return pc.createColors(sink.isTerminal && !refused);
}
