import { describe, expect, it } from '@jest/globals';
import { MayflyError } from '@mayfly/contracts';
import { GatewaySettings } from '../settings.ts';
import { Admission, type RequestKind } from './admission.ts';

const admission = (more: Record<string, string> = {}) => {
  const made = new Admission(
    GatewaySettings.parse({
      MAYFLY_NATS_URL: 'x',
      MAYFLY_KEYS: 'x',
      MAYFLY_MAX_IN_FLIGHT: '8',
      MAYFLY_MAX_VITAL_IN_FLIGHT: '4',
      ...more,
    }),
  );
  const refused: string[] = [];
  made.onRefusal((cause) => refused.push(cause));
  return { made, refused };
};
/** Enters as often as it is let, and gives the functions that leave again. */
const fill = (made: Admission, source: string, kind: RequestKind) => {
  const entered: (() => void)[] = [];
  for (;;) {
    const place = made.enter(source, kind);
    if (typeof place === 'string') return entered;
    entered.push(place);
  }
};

describe('the places of requests', () => {
  it('leave the half of all to others, whatever one address sends, and come back', () => {
    const { made, refused } = admission();
    const held = fill(made, 'a', 'usual');
    expect(held).toHaveLength(4);
    expect(refused).toEqual(['source_in_flight']);
    expect(fill(made, 'b', 'usual')).toHaveLength(4);
    expect(made.enter('c', 'usual')).toBe('in_flight');
    held[0]?.();
    expect(made.enter('c', 'usual')).toBeInstanceOf(Function);
  });

  it('are half free for those who have a session, whoever asks without one', () => {
    const { made } = admission();
    const strangers = ['a', 'b', 'c', 'd'].flatMap((source) => fill(made, source, 'open'));
    expect(strangers).toHaveLength(4);
    expect(fill(made, 'e', 'usual')).toHaveLength(4);
    for (const leave of strangers) leave();
    expect(fill(made, 'a', 'open')).toHaveLength(2);
  });

  it('are there for ends, revocations and heartbeats when all others are taken', () => {
    const { made } = admission();
    for (const source of ['a', 'b']) fill(made, source, 'usual');
    expect(made.enter('c', 'usual')).toBe('in_flight');
    // Also for the very address that holds all it may.
    expect(fill(made, 'a', 'vital')).toHaveLength(2);
    const ends = fill(made, 'c', 'vital');
    expect(ends).toHaveLength(2);
    expect(made.enter('d', 'vital')).toBe('in_flight');
    ends[0]?.();
    expect(made.enter('d', 'usual')).toBe('in_flight');
    expect(made.enter('d', 'vital')).toBeInstanceOf(Function);
  });

  it('are half free for ends and heartbeats of sessions, whoever sends ends without one', () => {
    const { made } = admission();
    for (const source of ['a', 'b', 'c', 'd', 'e', 'f']) fill(made, source, 'open_vital');
    // Four of eight, and two of four.
    expect(fill(made, 'x', 'usual')).toHaveLength(4);
    expect(fill(made, 'x', 'vital')).toHaveLength(2);
    expect(made.enter('y', 'open_vital')).toBe('in_flight');
  });

  it('are not lost on the way: whoever is refused holds nothing', () => {
    const { made } = admission();
    const all = ['a', 'b'].flatMap((source) => fill(made, source, 'usual'));
    for (let i = 0; i < 100; i++) expect(typeof made.enter('c', 'open')).toBe('string');
    for (const leave of all) leave();
    expect(fill(made, 'c', 'open')).toHaveLength(2);
  });
});

describe('the mints of an organization', () => {
  const tokenOf = (organization: string) =>
    `x.${Buffer.from(JSON.stringify({ organization })).toString('base64url')}.x`;

  it('that take long leave half of the places to the others, and are all given back', async () => {
    const { made, refused } = admission();
    let finish: () => void = () => undefined;
    const slow = new Promise<void>((resolve) => (finish = resolve));
    const held = [1, 2, 3, 4].map(() => made.minting(tokenOf('acme'), () => slow));
    await expect(made.minting(tokenOf('acme'), () => slow)).rejects.toMatchObject({ code: 'rate_limited' });
    expect(refused).toEqual(['organization_in_flight']);
    expect(await made.minting(tokenOf('globex'), () => Promise.resolve('minted'))).toBe('minted');
    finish();
    await Promise.all(held);
    await expect(made.minting(tokenOf('acme'), () => Promise.reject(new Error('failed')))).rejects.toThrow(
      'failed',
    );
    expect(await made.minting(tokenOf('acme'), () => Promise.resolve('minted'))).toBe('minted');
  });
});

describe('the rates', () => {
  it('of ends, revocations and heartbeats are drained by nothing else', () => {
    const { made, refused } = admission({ MAYFLY_SOURCE_RATE: '1', MAYFLY_SOURCE_BURST: '2' });
    expect([1, 2, 3].map(() => made.chargeSource('a', 'open'))).toEqual([
      undefined,
      undefined,
      'source_rate',
    ]);
    expect(made.chargeSource('a', 'usual')).toBe('source_rate');
    expect(made.chargeSource('a', 'vital')).toBeUndefined();
    expect(refused).toEqual(['source_rate', 'source_rate']);
  });

  it('of an organization that asks for too much leave it the ends of what it has', async () => {
    const { made } = admission({ MAYFLY_ORGANIZATION_RATE: '1', MAYFLY_ORGANIZATION_BURST: '1' });
    const claims = Buffer.from(JSON.stringify({ organization: 'acme' })).toString('base64url');
    const token = `x.${claims}.x`;
    const ok = () => Promise.resolve('done');
    expect(await made.charged(token, 'usual', ok)).toBe('done');
    await expect(made.charged(token, 'usual', ok)).rejects.toMatchObject({ code: 'rate_limited' });
    expect(await made.charged(token, 'vital', ok)).toBe('done');
  });

  it('of an organization are not drained by tokens that policy refuses', async () => {
    const { made } = admission({ MAYFLY_ORGANIZATION_RATE: '1', MAYFLY_ORGANIZATION_BURST: '1' });
    const token = `x.${Buffer.from('{"organization":"acme"}').toString('base64url')}.x`;
    const forged = () => Promise.reject(new MayflyError('unauthenticated', 'no'));
    for (let i = 0; i < 5; i++)
      await expect(made.charged(token, 'usual', forged)).rejects.toMatchObject({ code: 'unauthenticated' });
    expect(await made.charged(token, 'usual', () => Promise.resolve(1))).toBe(1);
  });
});
