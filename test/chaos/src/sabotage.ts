/**
 * Whether the checks can fail: Mayfly is broken on purpose as it is loaded, four ways, and each time the faults that would
 * otherwise pass must not. The services' code on disk stays as it is.
 */
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
      ...(name === 'nothing'
        ? {}
        : { sabotage: join(repositoryRoot(), 'test', 'chaos', 'sabotage', `${name}.js`) }),
    });
    print(describe(`Sabotage: ${name}`, report));
    const red = countVerdicts(report).failed > 0;
    const asExpected = red === (name !== 'nothing');
    print(`\n${asExpected ? 'ok     ' : 'FAILED '} sabotage ${name}: the suite is ${red ? 'red' : 'green'}`);
    if (asExpected) passed++;
    else failed++;
  }
  return { passed, failed };
}
