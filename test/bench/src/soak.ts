/**
 * `npm run soak`: half of the highest load for 20 minutes (`-- --minutes 5` for less; `--json` for machines). Memory of each
 * service has to stay flat and leases have to end on time from first to last. Exits 1 when they don't.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { AgentApi, type DevelopmentStack } from '@mayfly/stack';
import pg from 'pg';
import { startBenchStack } from './bench-stack.ts';
import { closeConnections, post } from './http-client.ts';
import { underLoad } from './load.ts';
import { median } from './row.ts';
import { residentMegabytes } from './scale.bench.ts';

/** Of each asker; leases pile up to so many seconds' worth and no more. */
const ttlSeconds = 20;
const credentials = ['reports-api/read', 'orders-fast/measured'];
const workers = 16;
/** A session lives for an hour at most; a fresh one in good time. */
const sessionMs = 10 * 60_000;
const sampleMs = 5_000;
/** Last quarter against second. */
const mostGrowth = 1.1;
/** A lease ends within 1 s of its time at normal load; a slower machine may take longer, but not longer and longer. */
const onTimeMs = 1_000;

interface Sample {
  readonly at: number;
  readonly memory: Readonly<Record<string, number>>;
}

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '20' }, json: { type: 'boolean', default: false } },
});
const minutes = Number(values.minutes);
if (!(minutes > 0 && minutes <= 24 * 60)) {
  console.error('--minutes takes a number from 1 to 1440.');
  process.exit(2);
}

const { stack } = await startBenchStack();
try {
  const report = await soak(stack, minutes * 60_000);
  if (values.json) console.log(JSON.stringify(report, null, 2));
  else print(report);
  process.exitCode = report.every(({ ok }) => ok) ? 0 : 1;
} finally {
  closeConnections();
  await stack.stop();
}

interface Line {
  readonly what: string;
  readonly unit: string;
  readonly secondQuarter: number;
  readonly lastQuarter: number;
  readonly ok: boolean;
}

async function soak(running: DevelopmentStack, durationMs: number): Promise<Line[]> {
  const ask = await asker(running);
  await underLoad(workers, 15_000, ask);
  const highest = (await underLoad(workers, 15_000, ask)).rate;
  const target = highest / 2;
  console.error(`highest load ${highest.toFixed(0)} leases/s; ${target.toFixed(0)} for ${minutes} minutes`);
  const samples: Sample[] = [];
  const start = Date.now();
  const end = start + durationMs;
  let issued = 0;
  const load = Array.from({ length: workers }, async (_, worker) => {
    const pauseMs = (workers * 1000) / target;
    await sleep((worker * pauseMs) / workers);
    for (let next = performance.now(); Date.now() < end; next += pauseMs) {
      await sleep(Math.max(0, next - performance.now()));
      await ask();
      issued++;
    }
  });
  const watching = (async () => {
    let told = start;
    for (; Date.now() < end; await sleep(sampleMs)) {
      const memory = Object.fromEntries(
        Object.entries(running.services).map(([name, { pid }]) => [name, residentMegabytes(pid)]),
      );
      samples.push({ at: Date.now(), memory });
      if (Date.now() - told < 60_000) continue;
      told = Date.now();
      const held = Object.entries(memory).map(([name, megabytes]) => `${name} ${megabytes.toFixed(0)}`);
      console.error(`${((told - start) / 60_000).toFixed(0)} min: ${issued} issued; MB: ${held.join(', ')}`);
    }
  })();
  await Promise.all([...load, watching]);
  const quarter = (n: number) => ({
    from: start + ((n - 1) * durationMs) / 4,
    to: start + (n * durationMs) / 4,
  });
  return [
    ...memoryLines(samples, quarter(2), quarter(4)),
    await latenessLine(running, quarter(2), quarter(4)),
    await failingLine(running),
  ];
}

interface Period {
  readonly from: number;
  readonly to: number;
}

function memoryLines(samples: readonly Sample[], second: Period, last: Period): Line[] {
  const of = ({ from, to }: Period, name: string) =>
    median(samples.filter(({ at }) => at >= from && at < to).map(({ memory }) => memory[name] ?? 0));
  return Object.keys(samples[0]?.memory ?? {}).map((name) => {
    const [secondQuarter, lastQuarter] = [of(second, name), of(last, name)];
    return {
      what: `memory of ${name}`,
      unit: 'MB',
      secondQuarter,
      lastQuarter,
      ok: lastQuarter <= mostGrowth * secondQuarter,
    };
  });
}

/** By Postgres' clock: when the register says that a lease ended, against when it should have. */
async function latenessLine(running: DevelopmentStack, second: Period, last: Period): Promise<Line> {
  const lateness = ({ from, to }: Period) =>
    number(
      running,
      `SELECT percentile_cont(0.99) WITHIN GROUP (ORDER BY 1000 * extract(epoch FROM ended_at - expires_at)) AS n
         FROM revocation.leases
        WHERE state = 'expired' AND expires_at >= to_timestamp($1 / 1000.0) AND expires_at < to_timestamp($2 / 1000.0)`,
      // What expired in the very end may still be about to end.
      [from, to - 5_000],
    );
  const [secondQuarter, lastQuarter] = [await lateness(second), await lateness(last)];
  return {
    what: 'lateness of ends, 99th percentile',
    unit: 'ms',
    secondQuarter,
    lastQuarter,
    ok: lastQuarter <= Math.max(onTimeMs, mostGrowth * secondQuarter),
  };
}

async function failingLine(running: DevelopmentStack): Promise<Line> {
  const failing = await number(
    running,
    `SELECT count(*) AS n FROM revocation.leases WHERE state = 'revocation_failed' OR expires_at < clock_timestamp() - interval '10 s'
        AND ended_at IS NULL`,
    [],
  );
  return {
    what: 'leases that should have ended',
    unit: '',
    secondQuarter: 0,
    lastQuarter: failing,
    ok: failing === 0,
  };
}

async function number(
  running: DevelopmentStack,
  text: string,
  parameters: readonly number[],
): Promise<number> {
  const client = new pg.Client({ connectionString: running.postgres.databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ n: string | null }>(text, [...parameters]);
    return Number(rows[0]?.n ?? 0);
  } finally {
    await client.end();
  }
}

/** Asks for one credential after the other, in a session that is renewed in good time. */
async function asker(running: DevelopmentStack): Promise<() => Promise<void>> {
  const open = () =>
    AgentApi.openSession(running.gatewayUrl, readFileSync(running.identityFiles.agent, 'utf8').trim());
  let agent = await open();
  let opened = Date.now();
  let asked = 0;
  const url = new URL('/v1/leases', running.gatewayUrl);
  return async () => {
    if (Date.now() - opened > sessionMs) {
      opened = Date.now();
      agent = await open();
    }
    const credential = credentials[asked++ % credentials.length];
    const headers = { authorization: `Bearer ${agent.sessionToken}`, 'content-type': 'application/json' };
    const answer = await post(url, headers, JSON.stringify({ credential, ttl_seconds: ttlSeconds }));
    if (answer.status !== 201) throw new Error(`${credential}: ${answer.status} ${answer.body}`);
  };
}

function print(lines: readonly Line[]): void {
  const width = Math.max(...lines.map(({ what }) => what.length));
  const cells = (what: string, ...columns: string[]) =>
    console.log([what.padEnd(width), ...columns.map((cell) => cell.padStart(12))].join('  '));
  cells('', '2nd quarter', 'last quarter', 'unit', '');
  for (const { what, unit, secondQuarter, lastQuarter, ok } of lines) {
    cells(what, secondQuarter.toFixed(0), lastQuarter.toFixed(0), unit, ok ? 'ok' : 'MISSED');
  }
}
