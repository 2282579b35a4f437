import { describe, expect, it } from '@jest/globals';
import { Admission, type Place } from './admission.ts';

describe('Admission', () => {
  const limits = { perIntegration: 2, queue: 1, perOrganization: 100, waitMs: 10_000 };
  const [acme, globex] = ['acme', 'globex'].map((organization) => ({ organization, integration: 'db' })) as [
    Place,
    Place,
  ];
  const held = () => {
    const { promise, resolve } = Promise.withResolvers<string>();
    return { work: () => promise, finish: resolve };
  };

  it('runs as many as there are places, lets some wait in order and refuses the rest', async () => {
    const admission = new Admission(limits);
    const [a, b, c] = [held(), held(), held()];
    const first = admission.run(acme, 30_000, a.work);
    const second = admission.run(acme, 30_000, b.work);
    let begun = false;
    const third = admission.run(acme, 30_000, () => {
      begun = true;
      return c.work();
    });
    await expect(admission.run(acme, 30_000, a.work)).rejects.toMatchObject({
      code: 'provider_unavailable',
    });
    expect(begun).toBe(false);
    a.finish('a');
    expect(await first).toBe('a');
    c.finish('c');
    expect(await third).toBe('c');
    b.finish('b');
    expect(await second).toBe('b');
  });

  it('keeps integrations apart', async () => {
    const admission = new Admission({ ...limits, perIntegration: 1, queue: 0 });
    const hung = held();
    const hanging = admission.run(acme, 30_000, hung.work);
    expect(await admission.run(globex, 30_000, () => Promise.resolve('done'))).toBe('done');
    hung.finish('');
    await hanging;
  });

  it('gives a place back when the work failed, and takes no longer than there is time', async () => {
    const admission = new Admission({ ...limits, perIntegration: 1 });
    await expect(admission.run(acme, 30_000, () => Promise.reject(new Error('failed')))).rejects.toThrow(
      'failed',
    );
    const hung = held();
    const hanging = admission.run(acme, 30_000, hung.work);
    await expect(admission.run(acme, 5, () => Promise.resolve())).rejects.toMatchObject({
      code: 'provider_unavailable',
    });
    hung.finish('');
    await hanging;
    expect(await admission.run(acme, 30_000, () => Promise.resolve('again'))).toBe('again');
  });

  it('leaves room for other organizations, however many integrations one has that hang', async () => {
    const admission = new Admission({ ...limits, perOrganization: 4 });
    const hung = held();
    const hanging = ['a', 'b', 'c', 'd'].map((integration) =>
      admission.run({ organization: 'acme', integration }, 30_000, hung.work),
    );
    await expect(
      admission.run({ organization: 'acme', integration: 'e' }, 30_000, hung.work),
    ).rejects.toMatchObject({ code: 'provider_unavailable' });
    expect(await admission.run(globex, 30_000, () => Promise.resolve('done'))).toBe('done');
    hung.finish('');
    await Promise.all(hanging);
    expect(await admission.run(acme, 30_000, () => Promise.resolve('again'))).toBe('again');
  });
});
