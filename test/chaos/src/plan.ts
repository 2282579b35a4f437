/** Which faults a run is made of. */
import { serviceNames } from '@mayfly/contracts';
import { killAt, pauseAt } from './faults/at-failpoint.ts';
import type { Fault } from './faults/fault.ts';
import { oldMessagesAgain } from './faults/messages.ts';
import { kill, oneOfTwo, pause, shiftClocks, victims } from './faults/processes.ts';
import { fullDiskOfNats, fullDiskOfPostgres, streamAtItsLimit } from './faults/storage.ts';
import type { Random } from './load/random.ts';
import { knownFailpoints } from './stack/failpoint-order.ts';

/** Steps at which stopping for longer than the orphan time differs from dying: what was in hand goes on, too late. */
const worthPausing = [
  'minting.provider.before',
  'minting.activation.before',
  'minting.reply.before',
  'revocation.activation.before',
  'revocation.claim.committed',
  'minting.renewal.before',
  'revocation.renewal.prolonged',
  'revocation.succession.before',
];

/** One of everything, in an order that is always the same. */
export function fullPlan(): Fault[] {
  return [
    ...victims.map(kill),
    ...knownFailpoints().map(killAt),
    ...worthPausing.map(pauseAt),
    streamAtItsLimit(),
    oldMessagesAgain(),
    shiftClocks(['policy', 'gateway'], 30_000),
    shiftClocks(['minting', 'revocation', 'audit'], -30_000),
    oneOfTwo(),
    fullDiskOfNats(),
    fullDiskOfPostgres(),
  ];
}

/** With the timers of production: one step of each flow. */
export function realTimersPlan(): Fault[] {
  return [killAt('minting.activation.before'), killAt('revocation.claim.committed')];
}

/** Anything at all, for ever. */
export function* randomPlan(random: Random): Generator<Fault> {
  const failpoints = knownFailpoints() as [string, ...string[]];
  for (;;) {
    const makers: [() => Fault, ...(() => Fault)[]] = [
      () => killAt(random.pick(failpoints)),
      () => killAt(random.pick(failpoints)),
      () => kill(random.pick(victims)),
      () => kill(random.pick(victims)),
      () => pause(random.pick([...serviceNames, 'nats-server'])),
      () => pauseAt(random.pick(worthPausing as [string, ...string[]])),
      streamAtItsLimit,
      oldMessagesAgain,
      () => shiftClocks([random.pick(serviceNames)], random.pick([30_000, -30_000])),
      oneOfTwo,
      fullDiskOfNats,
      fullDiskOfPostgres,
    ];
    yield random.pick(makers)();
  }
}
