/** What many leases cost the service that ends them: its memory, and the time until it is ready. */
import { readFileSync } from 'node:fs';
import type { AgentApi, DevelopmentStack } from '@mayfly/stack';
import { setTimeout as sleep } from 'node:timers/promises';
import { ask } from './issuance.bench.ts';
import { Register } from './register.ts';
import { median, row, type Row } from './row.ts';

const live = 100_000;
const rows = 1_000_000;
const starts = 3;
/** A service has read what it reads at start, and its heap has settled. */
const settleMs = 6_000;

export async function scale(stack: DevelopmentStack, agent: AgentApi): Promise<Row[]> {
  const register = await Register.open(stack);
  try {
    await ask(agent, 'orders-fast/measured')();
    const empty = await start(stack);
    await register.fill({ live, ended: 0 });
    const withLive = await start(stack);
    await register.fill({ live: 0, ended: rows - live });
    const full = await start(stack);
    return [
      row(`revocation's memory with ${live} live leases`, 'MB', withLive.memory, empty.memory, {
        atMost: 1.2,
      }),
      row(`revocation ready with ${rows} rows`, 'ms', full.readyMs, empty.readyMs, { atMost: 2 }),
    ];
  } finally {
    await register.close();
  }
}

/** Starts revocation a few times; medians of how long until it is ready and of what it holds a while after. */
async function start(stack: DevelopmentStack): Promise<{ readyMs: number; memory: number }> {
  const { revocation } = stack.services;
  const readyMs: number[] = [];
  const memory: number[] = [];
  for (let n = 0; n < starts; n++) {
    await revocation.kill();
    const started = performance.now();
    await revocation.restart();
    readyMs.push(performance.now() - started);
    await sleep(settleMs);
    memory.push(residentMegabytes(revocation.pid));
  }
  return { readyMs: median(readyMs), memory: median(memory) };
}

/** `VmRSS` of a process (proc(5)). */
export function residentMegabytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  if (kilobytes === undefined) throw new Error(`Process ${pid} does not tell its memory.`);
  return Number(kilobytes) / 1024;
}
