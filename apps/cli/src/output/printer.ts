/** Writes for people and for scripts: results to stdout, notes to stderr, colour only on a terminal. */
import pc from 'picocolors';
import type { Io, TextSink } from '../io.ts';
import type { CommandFailure } from '../failure.ts';

type Colours = ReturnType<typeof pc.createColors>;

export class Printer {
  readonly #io: Io;
  /** Colours for stdout. */
  readonly colours: Colours;
  readonly #noteColours: Colours;

  constructor(io: Io) {
    this.#io = io;
    this.colours = coloursFor(io.stdout, io.env);
    this.#noteColours = coloursFor(io.stderr, io.env);
  }

  /** A result: text that already ends where it should. */
  result(text: string): void {
    this.#io.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
  }

  /** A line of a result that grows; text from elsewhere is made safe. */
  line(text: string): void {
    this.result(printable(text));
  }

  /** A line of a result in a colour, where there are any. */
  coloured(colour: (text: string) => string, text: string): void {
    this.result(colour(printable(text)));
  }

  json(value: unknown): void {
    this.#io.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
  }

  /** One JSON value on one line, as part of a stream of them. */
  jsonLine(value: unknown): void {
    this.#io.stdout.write(`${JSON.stringify(value)}\n`);
  }

  /** Something to know beside the result; never part of it. */
  note(sentence: string): void {
    this.#io.stderr.write(`${this.#noteColours.dim(`mayfly: ${printable(sentence)}`)}\n`);
  }

  failure({ sentence, next, traceId, code }: CommandFailure): void {
    const { red, dim } = this.#noteColours;
    const named = code === undefined ? '' : ` ${dim(`(${code})`)}`;
    this.#io.stderr.write(`${red('mayfly:')} ${printable(sentence)}${named}\n`);
    if (next !== undefined) this.#io.stderr.write(`  ${printable(next)}\n`);
    if (traceId !== undefined) this.#io.stderr.write(`  ${dim(`trace ${printable(traceId)}`)}\n`);
  }

  /** Columns as wide as their widest cell, two spaces between them. Without rows: `empty`, as a note. */
  table(header: readonly string[], rows: readonly (readonly string[])[], empty: string): void {
    if (rows.length === 0) {
      this.note(empty);
      return;
    }
    const [head = '', ...lines] = alignedLines([header, ...rows.map((row) => row.map(printable))]);
    this.result([this.colours.dim(head), ...lines].join('\n'));
  }
}

/** Rows as lines with aligned columns. */
export function alignedLines(rows: readonly (readonly string[])[]): string[] {
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

/** Text from elsewhere must not steer the terminal: control and bidirectional characters become `?`. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069]/gu, '?');
}

/** https://no-color.org: any value that is not empty turns colour off. */
function coloursFor(sink: TextSink, env: Io['env']): Colours {
  const refused = (env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb';
  return pc.createColors(sink.isTerminal && !refused);
}
