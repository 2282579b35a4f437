import { describe, expect, it } from '@jest/globals';
import { ProviderSlots } from './provider-slots.ts';

describe('slots at providers', () => {
  it('bound what runs overall and per integration, and leave room for the others', async () => {
    const slots = new ProviderSlots({ overall: 3, perIntegration: 2, perSecond: 1_000 });
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
    expect(slots.room()).toEqual(
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
    expect(slots.room().size).toBe(0);
  });

  it('are free again after work that fails', async () => {
    const slots = new ProviderSlots({ overall: 1, perIntegration: 1, perSecond: 1_000 });
    await expect(slots.run('a', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    await expect(slots.run('a', () => Promise.resolve(1))).resolves.toBe(1);
  });

  it('begin no faster at one upstream than allowed, and others do not wait for it', async () => {
    const slots = new ProviderSlots({ overall: 8, perIntegration: 4, perSecond: 20 });
    const begun = performance.now();
    // Two at once, a tenth of a second's worth; then one each 50 ms.
    const limited = Array.from({ length: 6 }, () => slots.run('a', () => Promise.resolve(performance.now())));
    const other = (await slots.run('b', () => Promise.resolve(performance.now()))) - begun;
    const at = (await Promise.all(limited)).map((time) => time - begun);
    expect(other).toBeLessThan(at[2] ?? 0);
    expect(at[5]).toBeGreaterThanOrEqual(190);
  });

  it('leave a place for one more upstream, however many hang', async () => {
    const slots = new ProviderSlots({ overall: 8, perIntegration: 8, perSecond: 1_000 });
    let running = 0;
    const hang = () => {
      running++;
      return new Promise<void>(() => undefined);
    };
    for (const upstream of ['a', 'b', 'c'])
      for (let index = 0; index < 8; index++) void slots.run(upstream, hang);
    expect(running).toBeLessThan(8);
    await expect(slots.run('d', () => Promise.resolve('done'))).resolves.toBe('done');
  });
});
