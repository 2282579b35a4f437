/** A process that dies, or stops, at a named step: with this in hand, after that and before the next. */
import { setTimeout as sleep } from 'node:timers/promises';
import { waitUntil } from '@mayfly/stack';
import { agentClaims, openSession } from '../load/agent.ts';
import { serviceOf } from '../stack/failpoint-order.ts';
import type { Fault, Scene } from './fault.ts';

/** Something that makes a rare step come up. */
type Provocation = (scene: Scene) => Promise<void>;

const reachedWithinMs = 21_000;
const provokedTimes = 3;

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
    for (let tries = 1; tries < provokedTimes; tries++) {
      // It may be the very process that the provocation starts which dies, before it is ready.
      await provoke(scene).catch(() => undefined);
      if (
        await reached(reachedWithinMs / provokedTimes).then(
          () => true,
          () => false,
        )
      )
        return;
    }
    await reached(reachedWithinMs / provokedTimes);
  } finally {
    scene.withdrawOrder();
  }
}

export async function dieAt(scene: Scene, failpoint: string): Promise<void> {
  await stopAt(scene, failpoint, 'kill');
  const service = scene.stack.services[serviceOf(failpoint)];
  await service.process().exited;
  await service.restart();
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

/** What minting had in hand becomes an orphan. */
async function mintingDies({ stack }: Scene): Promise<void> {
  const { minting } = stack.services;
  await minting.kill('SIGKILL');
  await minting.restart();
}
