/**
 * Whether the checks can fail: Mayfly is broken on purpose as it is loaded, five ways, and each time the faults that would
 * otherwise pass must not. The services' code on disk stays as it is.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { repositoryRoot } from '@mayfly/stack';
import { killAt } from './faults/at-failpoint.ts';
import type { Fault } from './faults/fault.ts';
import { streamAtItsLimit } from './faults/storage.ts';
import { runPlan } from './run-plan.ts';
import { shortTimers } from './stack/chaos-stack.ts';
import { countVerdicts, describe } from './table.ts';

interface Trial {
  readonly plan: () => Fault[];
  /** Some agents are hostile, and lock what the end of their lease changes. */
  readonly hostile: boolean;
}

const sabotages: Readonly<Record<string, Trial>> = {
  // Minting calls providers without having said so.
  'skip-intent': { plan: () => [killAt('minting.activation.before')], hostile: false },
  // Minting does not wait until its intent is stored.
  'skip-ack-wait': { plan: () => [streamAtItsLimit()], hostile: false },
  // Nobody looks for what dead mints have left.
  'skip-reconcile': { plan: () => [killAt('minting.activation.before')], hostile: false },
  // Ends wait for what the party that is ended has locked.
  'wait-for-locks': {
    plan: () => [killAt('minting.activation.before'), killAt('revocation.claim.committed')],
    hostile: true,
  },
};
const nothing: Trial = {
  plan: () => [killAt('minting.activation.before'), streamAtItsLimit()],
  hostile: true,
};

/** All users of the bus share one account. No fault shows that; the captured services do (`test/security/captured-service/`). */
const oneAccount = 'one-account';

/** Runs the captured services as they are and with the accounts put away: the former must be green, the latter red. */
async function runOneAccount(print: (text: string) => void): Promise<{ passed: number; failed: number }> {
  const counts = { passed: 0, failed: 0 };
  for (const name of ['nothing', oneAccount]) {
    const red = !(await capturedServicesPass(name === oneAccount ? fileOf(oneAccount) : undefined));
    const asExpected = red === (name === oneAccount);
    print(
      `${asExpected ? 'ok     ' : 'FAILED '} sabotage ${name}, captured services: they are ${red ? 'red' : 'green'}`,
    );
    counts[asExpected ? 'passed' : 'failed']++;
  }
  return counts;
}

async function capturedServicesPass(sabotage: string | undefined): Promise<boolean> {
  const child = spawn(
    process.execPath,
    [
      join(repositoryRoot(), 'test', 'run.js'),
      ...['--selectProjects', 'captured', '--testNamePattern', 'does no harm|hears nothing'],
    ],
    {
      stdio: ['ignore', 'ignore', 'ignore'],
      env: { ...process.env, ...(sabotage !== undefined && { NODE_OPTIONS: `--import=${sabotage}` }) },
    },
  );
  const [code] = (await once(child, 'exit')) as [number | null];
  return code === 0;
}

function fileOf(name: string): string {
  return join(repositoryRoot(), 'test', 'chaos', 'sabotage', `${name}.js`);
}

/** Passed: those that the suite noticed, and the same faults without sabotage, which must pass; of these, the ones `isWanted`. */
export async function runSabotage(
  seed: number,
  print: (text: string) => void,
  isWanted: (name: string) => boolean,
): Promise<{ passed: number; failed: number }> {
  let passed = 0;
  let failed = 0;
  for (const [name, { plan, hostile }] of Object.entries({ nothing, ...sabotages })) {
    if (!isWanted(name)) continue;
    const report = await runPlan({
      seed,
      plan: plan(),
      timers: shortTimers,
      smallDisks: false,
      longestMs: 60_000,
      rate: 60,
      // So that what is left behind is left upstream.
      postgresShare: 1,
      agents: 24,
      ...(hostile && { hostileShare: 0.5, habits: ['row-lock', 'prepared-transaction'] }),
      progress: print,
      ...(name === 'nothing' ? {} : { sabotage: fileOf(name) }),
    });
    print(describe(`Sabotage: ${name}`, report));
    const red = countVerdicts(report).failed > 0;
    const asExpected = red === (name !== 'nothing');
    print(`\n${asExpected ? 'ok     ' : 'FAILED '} sabotage ${name}: the suite is ${red ? 'red' : 'green'}`);
    if (asExpected) passed++;
    else failed++;
  }
  if (isWanted(oneAccount)) {
    const counts = await runOneAccount(print);
    passed += counts.passed;
    failed += counts.failed;
  }
  return { passed, failed };
}
