/**
 * `npm run test:chaos`: the stack under load, everything going wrong in turn, and whether the promises hold. `--help` tells the
 * rest. Its last line is `N passed, N failed`; it exits 1 when anything failed.
 */
import { parseArgs } from 'node:util';
import { fullPlan, randomPlan, realTimersPlan } from './plan.ts';
import { habits } from './load/hostile/habits.ts';
import { Random } from './load/random.ts';
import { runPlan, type Report } from './run-plan.ts';
import { runSabotage } from './sabotage.ts';
import { realTimers, shortTimers } from './stack/chaos-stack.ts';
import { countVerdicts, describe } from './table.ts';

const help = `Usage: npm run test:chaos [-- options]

Without options: every fault once, in about ten minutes.

  --only <text>      just the faults that have this in their names, such as --only "kill at revocation."; may be repeated;
                     with --sabotage: just those ways, such as --only wait-for-locks
  --random           faults by chance instead
  --minutes <n>      how long, with --random (default 60)
  --seed <n>         what chance makes of it (default: another each time; printed)
  --rate <n>         mints per second to try for (default 200)
  --hostile <n>      which part of the agents is hostile, from 0 to 1 (default 0.1)
  --habit <name>     just that of what hostile agents do, such as row-lock; may be repeated
  --keep             leave logs and data in their folder (nothing is mounted then)
  --sabotage         break Mayfly on purpose, in five ways, and see the suite notice each
  --help             this

Examples:
  npm run test:chaos -- --random --minutes 60 --seed 7
  npm run test:chaos -- --only disk
`;

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    random: { type: 'boolean', default: false },
    minutes: { type: 'string', default: '60' },
    seed: { type: 'string' },
    rate: { type: 'string', default: '200' },
    hostile: { type: 'string', default: '0.1' },
    habit: { type: 'string', multiple: true },
    sabotage: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const print = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

const minute = 60_000;

async function main(): Promise<void> {
  if (values.help) {
    print(help);
    return;
  }
  const seed = Number(values.seed ?? Math.floor(Math.random() * 1e9));
  print(`seed ${String(seed)}`);
  const { only } = values;
  const isWanted = (name: string): boolean => only?.some((text) => name.includes(text)) ?? true;
  if (values.sabotage) return finish([await runSabotage(seed, print, isWanted)]);
  const hostileShare = Number(values.hostile);
  if (!(hostileShare >= 0 && hostileShare <= 1)) throw new Error('--hostile takes a share from 0 to 1');
  const unknown = values.habit?.filter((name) => !habits.some((habit) => habit.name === name)) ?? [];
  if (unknown.length > 0)
    throw new Error(
      `no habit is called ${unknown.join(', ')}; there are ${habits.map(({ name }) => name).join(', ')}`,
    );
  const load = {
    rate: Number(values.rate),
    agents: 160,
    hostileShare,
    ...(values.habit !== undefined && { habits: values.habit }),
  };
  const chosen = fullPlan().filter(({ name }) => isWanted(name));
  // One after the other: beside the load of the first, the second would only take from it what CPU there is.
  const runs: [string, () => Promise<Report>][] = [
    [
      'Short timers (orphans after 5 s)',
      () =>
        runPlan({
          seed,
          plan: values.random ? randomPlan(new Random(seed)) : chosen,
          timers: shortTimers,
          smallDisks: !values.keep,
          keep: values.keep,
          longestMs: values.random ? Number(values.minutes) * minute : 30 * minute,
          ...(only === undefined && { mustRenew: ['postgres', 'jwt'] as const }),
          progress: print,
          ...load,
        }),
    ],
  ];
  if (!values.random && only === undefined) {
    runs.push([
      'The timers of production (orphans after 60 s)',
      () =>
        runPlan({
          seed,
          plan: realTimersPlan(),
          timers: realTimers,
          smallDisks: false,
          longestMs: 5 * minute,
          rate: 5,
          agents: 10,
          hostileShare,
          ...(values.habit !== undefined && { habits: values.habit }),
          postgresShare: 1,
          progress: (line) => {
            print(`${line} (real timers)`);
          },
        }),
    ]);
  }
  const counts: { passed: number; failed: number }[] = [];
  for (const [title, run] of runs) {
    const report = await run();
    print(describe(title, report));
    counts.push(countVerdicts(report));
  }
  if (counts.some(({ failed }) => failed > 0)) {
    const again = process.argv
      .slice(2)
      .filter((word, index, all) => word !== '--seed' && all[index - 1] !== '--seed');
    print(
      `\nTo repeat it: npm run test:chaos -- ${[...again, '--seed', String(seed)].map(quoted).join(' ')}`,
    );
  }
  finish(counts);
}

/** For a shell. */
function quoted(word: string): string {
  return /^[\w.-]+$/u.test(word) ? word : `'${word}'`;
}

function finish(counts: readonly { passed: number; failed: number }[]): void {
  const passed = counts.reduce((sum, count) => sum + count.passed, 0);
  const failed = counts.reduce((sum, count) => sum + count.failed, 0);
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
  print(`\n${String(passed)} passed, ${String(failed)} failed`);
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

try {
  await main();
} catch (error) {
  print(`The run itself failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  finish([{ passed: 0, failed: 1 }]);
}
