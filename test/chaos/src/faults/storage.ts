/** Storage that has no room, and a stream that has reached its limit: issuance stops, ends go on, nothing is lost. */
import { setTimeout as sleep } from 'node:timers/promises';
import { FaultNotPossible, type Fault, type Scene } from './fault.ts';
import { ownNats, ownPostgres } from './processes.ts';

const fullForMs = 4_000;

/** The stream's own limit, while nobody takes anything from it. */
export function streamAtItsLimit(): Fault {
  return {
    name: 'stream at its limit',
    run: async (scene, broken) => {
      const { stack, ledger, register, timers } = scene;
      const audit = stack.services.audit.process();
      const topology = { ackWaitMs: timers.ackWaitMs };
      await broken(async () => {
        audit.kill('SIGSTOP');
        await stack.changeTopology({ ...topology, maxBytes: { MAYFLY_EVENTS: 64 * 1024 } });
        try {
          const last = () => ledger.all().at(-1)?.receivedAt ?? 0;
          const patience = Date.now() + 10_000;
          while (Date.now() - last() < 1_000) {
            if (Date.now() > patience)
              throw new Error('credentials are issued although no event can be stored');
            await sleep(50);
          }
          const from = Date.now();
          await sleep(fullForMs);
          const issued = ledger.receivedBetween(from, Date.now());
          if (issued > 0)
            throw new Error(`${String(issued)} credentials were issued although no event can be stored`);
          const overdue = await register.overdue(Date.now() - 2_500);
          if (overdue > 0) throw new Error(`${String(overdue)} leases did not end while the stream was full`);
        } finally {
          await stack.changeTopology(topology);
          audit.kill('SIGCONT');
        }
      });
    },
  };
}

/**
 * No room for the stream's files. nats-server then turns JetStream off until it is started again, and may have lost the last of
 * what it had acknowledged; as the operations guide says, the streams are then set up again.
 */
export function fullDiskOfNats(): Fault {
  return {
    name: 'full disk: stream',
    run: (scene, broken) =>
      fillDisk(scene, 'nats', broken, async () => {
        await ownNats(scene).restart();
        await scene.stack.changeTopology({ ackWaitMs: scene.timers.ackWaitMs });
      }),
  };
}

/** No room for Postgres. It may go down, and comes back when it is started with room. */
export function fullDiskOfPostgres(): Fault {
  return {
    name: 'full disk: Postgres',
    run: (scene, broken) =>
      fillDisk(scene, 'postgres', broken, async () => {
        await ownPostgres(scene).restart();
      }),
  };
}

async function fillDisk(
  { disks }: Scene,
  which: 'nats' | 'postgres',
  broken: (work: () => Promise<void>) => Promise<void>,
  mend: () => Promise<void>,
): Promise<void> {
  const disk = disks[which];
  if (typeof disk === 'string') throw new FaultNotPossible(`no small file system: ${disk}`);
  await broken(async () => {
    disk.fill();
    try {
      // Postgres and nats-server give room back to themselves now and then; it is taken again.
      for (const end = Date.now() + fullForMs; Date.now() < end; await sleep(100)) disk.fill();
    } finally {
      disk.free();
    }
    await mend();
  });
}
