/** Killing and stopping whole processes, at any moment. */
import { setTimeout as sleep } from 'node:timers/promises';
import { serviceNames, type ServiceName } from '@mayfly/contracts';
import type { OwnNats, OwnPostgres, RunningProcess } from '@mayfly/stack';
import type { Fault, Scene } from './fault.ts';

/** What can be killed. */
export const victims = [...serviceNames, 'nats-server', 'postgres'] as const;
export type Victim = (typeof victims)[number];

export function ownNats({ stack }: Scene): OwnNats {
  if (!('restart' in stack.nats)) throw new Error('the bus is not ours');
  return stack.nats;
}

export function ownPostgres({ stack }: Scene): OwnPostgres {
  const { server } = stack.postgres;
  if (!('restart' in server)) throw new Error('Postgres is not ours');
  return server;
}

export function processOf(scene: Scene, victim: Victim): RunningProcess {
  if (victim === 'nats-server') return ownNats(scene).process();
  if (victim === 'postgres') return ownPostgres(scene).process();
  return scene.stack.services[victim].process();
}

export async function restart(scene: Scene, victim: Victim): Promise<void> {
  if (victim === 'nats-server') return ownNats(scene).restart();
  if (victim === 'postgres') return ownPostgres(scene).restart();
  return scene.stack.services[victim].restart();
}

/** SIGKILL, and another process at once, as a supervisor would. */
export function kill(victim: Victim): Fault {
  return {
    name: `kill ${victim}`,
    run: async (scene, broken) => {
      await sleep(scene.random.between(0, 300));
      await broken(async () => {
        const running = processOf(scene, victim);
        running.kill('SIGKILL');
        await running.exited;
        await restart(scene, victim);
      });
    },
  };
}

/** SIGSTOP for longer than the orphan time: what it had in hand is given up by the others, and then it goes on. */
export function pause(victim: Victim): Fault {
  return {
    name: `pause ${victim}`,
    run: (scene, broken) =>
      broken(async () => {
        const running = processOf(scene, victim);
        running.kill('SIGSTOP');
        await sleep(scene.timers.orphanAfterMs + 2_000);
        running.kill('SIGCONT');
      }),
  };
}

/** Two of every service; one of each dies and nobody waits for it to come back. */
export function oneOfTwo(): Fault {
  return {
    name: 'two of everything, one of each dies',
    run: async (scene, broken) => {
      const { stack, http } = scene;
      const replicas = await Promise.all(serviceNames.map((service) => stack.startReplica(service)));
      const second = replicas[serviceNames.indexOf('gateway')];
      http.use([stack.gatewayUrl, second?.apiUrl ?? stack.gatewayUrl]);
      for (const service of serviceNames) {
        await broken(() => stack.services[service].kill('SIGKILL'));
        if (service === 'gateway') http.use([second?.apiUrl ?? stack.gatewayUrl]);
        if (!(await scene.load.untilIssued(5_000)))
          throw new Error(`nothing was issued by the other ${service} within 5 s`);
        await stack.services[service].restart();
      }
      http.use([stack.gatewayUrl]);
      // An orderly stop: it finishes what it has in hand, and does not have to be killed.
      const exits = await Promise.all(replicas.map((replica) => replica.stop()));
      const killed = serviceNames.filter((_, index) => exits[index]?.code !== 0);
      if (killed.length > 0) throw new Error(`${killed.join(', ')} did not stop in order`);
    },
  };
}

/** Services whose clocks are off, all by the same or one against the others. */
export function shiftClocks(services: readonly ServiceName[], offsetMs: number): Fault {
  const sign = offsetMs > 0 ? '+' : '−';
  return {
    name: `clock ${sign}${String(Math.abs(offsetMs) / 1000)} s: ${services.join(', ')}`,
    run: async (scene, broken) => {
      const { stack, load } = scene;
      const setClocks = (milliseconds: number) =>
        broken(() =>
          Promise.all(
            services.map((service) =>
              stack.services[service].restart({ MAYFLY_TEST_CLOCK_OFFSET_MS: String(milliseconds) }),
            ),
          ),
        );
      await setClocks(offsetMs);
      try {
        if (!(await load.untilIssued(5_000))) throw new Error('nothing is issued with this clock');
        await sleep(3_000);
        if (!(await load.untilIssued(5_000))) throw new Error('nothing is issued any more with this clock');
      } finally {
        await setClocks(0);
      }
    },
  };
}
