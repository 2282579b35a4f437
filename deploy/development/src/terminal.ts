/** What the scripts print for people: steps, facts, tables. Colour only on a terminal. */
import pc from 'picocolors';

const colour = pc.createColors(process.stdout.isTTY && process.env['NO_COLOR'] === undefined);

export function title(text: string): void {
  console.log(`\n${colour.bold(text)}`);
}

/** A thing that went as it should. */
export function done(text: string): void {
  console.log(`  ${colour.green('✓')} ${text}`);
}

/** Something to read, not to judge. */
export function fact(name: string, value: string): void {
  console.log(`  ${colour.dim(name.padEnd(12))} ${value}`);
}

export function failed(text: string): void {
  console.error(`  ${colour.red('✗')} ${text}`);
}

/** Rows under a header, in columns as wide as their widest cell. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = header.map((name, column) =>
    Math.max(name.length, ...rows.map((row) => (row[column] ?? '').length)),
  );
  const line = (cells: readonly string[]) =>
    `  ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd();
  console.log(colour.dim(line(header)));
  for (const row of rows) console.log(line(row));
}
