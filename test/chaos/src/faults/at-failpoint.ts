/** A process that dies, or stops, at a named step: with this in hand, after that and before the next. */
import { setTimeout as sleep } from 'node:timers/promises';
import { waitUntil } from '@mayfly/stack';
import { agentClaims, openSession } from '../load/agent.ts';
import { serviceOf } from '../stack/failpoint-order.ts';
import type { Fault, Scene } from './fault.ts';

/** Something that makes a rare step come up. */
type Provocation = (scene: Scene) => Promise<void>;

const reachedWithinMs = 21_000;
/** What is provoked comes up after a start and the time of an orphan. */
const provokedWithinMs = 9_000;
const provokedTimes = 3;
/** From taking the order, which a process does right before it kills itself. */
const diesWithinMs = 2_000;

/** Steps that the load alone does not reach. */
const provocations: Readonly<Record<string, Provocation>> = {
  'minting.withdrawal.before': revocationDies,
  'minting.withdrawal.after': revocationDies,
  'revocation.abandon.committed': revocationDies,
  'revocation.orphan.before': mintingDies,
  'revocation.orphan.committed': mintingDies,
  'minting.reconcile.before': mintingDies,
  'minting.reconcile.after': mintingDies,
  'revocation.cleanup.committed': mintingDies,
  'policy.relay.claimed': sessionOpens,
  'policy.relay.published': sessionOpens,
};

export function killAt(failpoint: string): Fault {
  return {
    name: `kill at ${failpoint}`,
    run: (scene, broken) => broken(() => dieAt(scene, failpoint)),
  };
}

export function pauseAt(failpoint: string): Fault {
  return {
    name: `pause at ${failpoint}`,
    run: (scene, broken) =>
      broken(async () => {
        await stopAt(scene, failpoint, 'pause');
        await sleep(scene.timers.orphanAfterMs + 2_000);
        scene.stack.services[serviceOf(failpoint)].process().kill('SIGCONT');
      }),
  };
}

/** Until the step has been reached: the process is dead or stopped then. There is one of each service. */
async function stopAt(scene: Scene, failpoint: string, action: 'kill' | 'pause'): Promise<void> {
  scene.order({ at: failpoint, action });
  const reached = (deadlineMs: number) =>
    waitUntil(`reaching ${failpoint}`, () => scene.orderTaken(), { deadlineMs, intervalMs: 5 });
  try {
    const provoke = provocations[failpoint];
    if (provoke === undefined) return await reached(reachedWithinMs);
    for (let tries = 1; !scene.orderTaken(); tries++) {
      // It may be the very process that the provocation starts which dies, before it is ready.
      await provoke(scene).catch(() => undefined);
      try {
        return await reached(provokedWithinMs);
      } catch (error) {
        if (tries === provokedTimes) throw error;
      }
    }
  } finally {
    scene.withdrawOrder();
  }
}

export async function dieAt(scene: Scene, failpoint: string): Promise<void> {
  const service = scene.stack.services[serviceOf(failpoint)];
  const before = service.process();
  await stopAt(scene, failpoint, 'kill');
  const isDead = await Promise.race([service.process().exited.then(() => true), sleep(diesWithinMs, false)]);
  if (isDead) return service.restart();
  // A provocation may have put another in its place already.
  if (service.process() === before) throw new Error(`${failpoint} was reached, and its process lives`);
}

/** Policy has an event of its own to tell. */
async function sessionOpens({ http, stack }: Scene): Promise<void> {
  await openSession(http, stack.issuer, agentClaims('visitor'));
}

/** Mints under way can't be activated, so minting takes back what it made. */
async function revocationDies({ stack }: Scene): Promise<void> {
  const { revocation } = stack.services;
  await revocation.kill('SIGKILL');
  await sleep(100);
  await revocation.restart();
}

/** What minting had in hand becomes an orphan: it has a lot in hand right after it did not run for a moment. */
async function mintingDies(scene: Scene): Promise<void> {
  const { minting } = scene.stack.services;
  await scene.load.untilIssued(provokedWithinMs);
  if (scene.orderTaken()) return;
  minting.process().kill('SIGSTOP');
  await sleep(300);
  minting.process().kill('SIGCONT');
  await sleep(50);
  // It has died by the order already: then who has ordered that starts it again.
  if (scene.orderTaken()) return;
  await minting.kill('SIGKILL');
  await minting.restart();
}
