/** Attacks that use up what a whole server has: each version and kind of admin has a small server of its own, where they go one at a time. */
import { afterAll } from '@jest/globals';
import { describeAttacks } from './attack-runs.ts';
import { runningServers, startServer } from './servers.ts';
import { usedUp } from './table/used-up.ts';

const started = new Map<string, ReturnType<typeof startServer>>();

describeAttacks({
  title: 'a hostile lessee who uses up the server',
  attacks: usedUp,
  majors: runningServers().map(({ major }) => major),
  serverFor: (major, adminKind) => {
    const key = `${String(major)} ${adminKind}`;
    const server =
      started.get(key) ??
      startServer(major, {
        max_connections: '30',
        // As many locks as a server has by default, with its 100 connections.
        max_locks_per_transaction: '128',
        max_prepared_transactions: '10',
      });
    started.set(key, server);
    return server;
  },
  ahead: Infinity,
  oneAtATime: true,
});

afterAll(async () => {
  for (const server of await Promise.allSettled(started.values()))
    if (server.status === 'fulfilled') await server.value.stop();
});
