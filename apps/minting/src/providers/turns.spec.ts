import { AsyncLocalStorage } from 'node:async_hooks';
import { describe, expect, it } from '@jest/globals';
import { Turns } from './turns.ts';

const longMs = 30_000;

describe('Turns', () => {
  /** Waits for turns, in this order, and tells in which order they come. Each is given back before the next. */
  const orderOf = async (turns: Turns, names: readonly string[]): Promise<string[]> => {
    const order: string[] = [];
    const taking = names.map(async (name) => {
      const giveBack = await turns.take(longMs, { isVital: name.startsWith('end') });
      order.push(name);
      giveBack?.();
    });
    await Promise.all(taking);
    return order;
  };

  it('come in order of arrival, ends before all that waited already', async () => {
    const turns = new Turns({ most: 1 });
    const giveBack = await turns.take(longMs);
    const order = orderOf(turns, ['mint 1', 'mint 2', 'end 1', 'mint 3', 'end 2']);
    giveBack?.();
    expect(await order).toEqual(['end 1', 'end 2', 'mint 1', 'mint 2', 'mint 3']);
    expect(turns.isIdle).toBe(true);
  });

  it('are left to mints, one at least, however much there is to end', async () => {
    const turns = new Turns({ most: 3 });
    // Nobody else waits: ends have all of them.
    const ends = await Promise.all([1, 2, 3].map(() => turns.take(longMs, { isVital: true })));
    const order = orderOf(turns, ['end', 'end', 'mint']);
    ends[0]?.();
    expect(await order).toEqual(['mint', 'end', 'end']);
    for (const giveBack of ends.slice(1)) giveBack?.();
    expect(turns.isIdle).toBe(true);
  });

  it('are not waited for longer than there is time, nor by more than may', async () => {
    const turns = new Turns({ most: 1, mostWaiting: 1 });
    const giveBack = await turns.take(longMs);
    expect(await turns.take(0)).toBeUndefined();
    expect(await turns.take(5)).toBeUndefined();
    const second = turns.take(longMs);
    expect(await turns.take(longMs, { isVital: true })).toBeUndefined();
    giveBack?.();
    (await second)?.();
    expect(turns.isIdle).toBe(true);
  });

  it('begin in the trace of who has waited, not of who gave back', async () => {
    const traces = new AsyncLocalStorage<string>();
    const turns = new Turns({ most: 1 });
    const giveBack = await turns.take(longMs);
    const seen = traces.run('waiting', async () => {
      (await turns.take(longMs))?.();
      return traces.getStore();
    });
    traces.run('giving back', () => giveBack?.());
    expect(await seen).toBe('waiting');
  });
});
