import { describe, expect, it } from '@jest/globals';
import { ProviderSlots } from './provider-slots.ts';

describe('slots at providers', () => {
  it('bound what runs overall and per integration, and leave room for the others', async () => {
    const slots = new ProviderSlots({ overall: 3, perIntegration: 2 });
    const started: string[] = [];
    const finish = new Map<string, () => void>();
    const start = (integration: string, name: string) =>
      slots.run(integration, () => {
        started.push(name);
        return new Promise<void>((resolve) => finish.set(name, resolve));
      });
    const all = [start('a', 'a1'), start('a', 'a2'), start('a', 'a3'), start('b', 'b1'), start('b', 'b2')];
    await Promise.resolve();
    expect(started).toEqual(['a1', 'a2', 'b1']);
    expect(slots.held).toBe(5);
    expect(slots.room(4)).toEqual(
      new Map([
        ['a', 1],
        ['b', 2],
      ]),
    );

    finish.get('b1')?.();
    await all[3];
    await Promise.resolve();
    // a3 came first, but a runs two already.
    expect(started).toEqual(['a1', 'a2', 'b1', 'b2']);
    for (const name of ['a1', 'a2', 'b2']) finish.get(name)?.();
    await Promise.all([all[0], all[1], all[4]]);
    await Promise.resolve();
    finish.get('a3')?.();
    await Promise.all(all);
    expect(slots.held).toBe(0);
    expect(slots.room(4).size).toBe(0);
  });

  it('are free again after work that fails', async () => {
    const slots = new ProviderSlots({ overall: 1, perIntegration: 1 });
    await expect(slots.run('a', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    await expect(slots.run('a', () => Promise.resolve(1))).resolves.toBe(1);
  });
});
