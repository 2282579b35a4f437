import { describe, expect, it } from '@jest/globals';
import type { RunningVersion } from '../configuration/running-configuration.ts';
import { byNewestConfiguration, outdated } from './newest-configuration.ts';

/** A configuration that is at version 1, and one further with every look. */
function changing() {
  let version = 1;
  const seen: number[] = [];
  return {
    seen,
    current: () => ({ version }) as RunningVersion,
    refreshFrom: (from: number) => {
      seen.push(from);
      version++;
      return Promise.resolve();
    },
  };
}

describe('a decision by an outdated configuration', () => {
  it('is made again by the newer one', async () => {
    const configuration = changing();
    const decide = ({ version }: RunningVersion) => Promise.resolve(version === 1 ? outdated : version);
    expect(await byNewestConfiguration(configuration, decide)).toBe(2);
    expect(configuration.seen).toEqual([1]);
  });

  it('costs no second look when it is not outdated', async () => {
    const configuration = changing();
    expect(await byNewestConfiguration(configuration, () => Promise.resolve('decided'))).toBe('decided');
    expect(configuration.seen).toEqual([]);
  });

  it('is given up after two tries', async () => {
    const configuration = changing();
    let tries = 0;
    const decide = () => {
      tries++;
      return Promise.resolve(outdated);
    };
    await expect(byNewestConfiguration<string>(configuration, decide)).rejects.toMatchObject({
      code: 'dependency_unavailable',
    });
    expect(tries).toBe(2);
  });
});
