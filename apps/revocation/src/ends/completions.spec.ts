import { describe, expect, it } from '@jest/globals';
import { Completions } from './completions.ts';

describe('completions', () => {
  it('write together what finishes during a write, and tell each whether it was written', async () => {
    const batches: string[][] = [];
    let release: () => void = () => undefined;
    const completions = new Completions<{ leaseId: string }>(async (items) => {
      const ids = items.map(({ leaseId }) => leaseId);
      batches.push(ids);
      if (batches.length === 1) await new Promise<void>((resolve) => (release = resolve));
      return new Set(ids.filter((id) => id !== 'known'));
    });
    const results = ['a', 'b', 'known'].map((leaseId) => completions.add({ leaseId }));
    release();
    expect(await Promise.all(results)).toEqual([true, true, false]);
    expect(batches).toEqual([['a'], ['b', 'known']]);
  });

  it('fail those of the write that failed and go on with the next', async () => {
    let writes = 0;
    const completions = new Completions<{ leaseId: string }>((items) =>
      ++writes === 1
        ? Promise.reject(new Error('away'))
        : Promise.resolve(new Set(items.map((item) => item.leaseId))),
    );
    const [first, second] = [completions.add({ leaseId: 'a' }), completions.add({ leaseId: 'b' })];
    await expect(first).rejects.toThrow('away');
    await expect(second).resolves.toBe(true);
  });
});
