/**
 * `npm run bench`: every budget beside its floor from the same run. `npm run bench -- jwt` runs what has "jwt" in its name;
 * `--json` prints the same for machines. Exits 1 when a budget is missed.
 */
import type { AgentApi, DevelopmentStack } from '@mayfly/stack';
import { auditRate } from './audit.bench.ts';
import { startBenchStack } from './bench-stack.ts';
import { manyEnds } from './ends.bench.ts';
import { closeConnections } from './http-client.ts';
import { jwtIssuance, postgresIssuance } from './issuance.bench.ts';
import type { Row } from './row.ts';
import { scale } from './scale.bench.ts';

type Benchmark = (stack: DevelopmentStack, agent: AgentApi) => Promise<Row[]>;

const benchmarks: Readonly<Record<string, Benchmark>> = {
  jwt: jwtIssuance,
  postgres: postgresIssuance,
  audit: auditRate,
  ends: manyEnds,
  scale,
};

const words = process.argv.slice(2);
const asJson = words.includes('--json');
const wanted = words.filter((word) => !word.startsWith('-'));
const chosen = Object.entries(benchmarks).filter(
  ([name]) => wanted.length === 0 || wanted.some((word) => name.includes(word)),
);

if (chosen.length === 0) {
  console.error(
    `No benchmark is called ${wanted.join(' ')}. There are: ${Object.keys(benchmarks).join(', ')}.`,
  );
  process.exit(2);
}

const rows: Row[] = [];
for (const [name, benchmark] of chosen) {
  // One stack each, so that what a benchmark leaves behind slows no other.
  process.stderr.write(`${name} …\n`);
  const { stack, agent } = await startBenchStack();
  try {
    const measured = await benchmark(stack, agent);
    rows.push(...measured);
    for (const { name: what, value, unit, ratio } of measured)
      process.stderr.write(`  ${what}: ${value} ${unit}, ratio ${ratio}\n`);
  } finally {
    closeConnections();
    await stack.stop();
  }
}
if (asJson) console.log(JSON.stringify({ rows }, null, 2));
else print(rows);
process.exitCode = rows.every(({ ok }) => ok) ? 0 : 1;

function print(results: readonly Row[]): void {
  const width = Math.max(...results.map(({ name }) => name.length));
  const cells = (name: string, ...columns: string[]) =>
    console.log([name.padEnd(width), ...columns.map((cell) => cell.padStart(9))].join('  '));
  cells('', 'value', 'floor', 'unit', 'ratio', 'budget', '');
  for (const { name, value, floor, unit, ratio, budget, ok } of results) {
    cells(
      name,
      String(value),
      String(floor),
      unit,
      ratio.toFixed(2),
      budget ?? '–',
      budget === undefined ? '' : ok ? 'ok' : 'missed',
    );
  }
}
