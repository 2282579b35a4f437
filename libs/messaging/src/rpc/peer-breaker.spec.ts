import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { MayflyError } from '@mayfly/contracts';
import { withDeadline } from '../deadline.ts';
import { PeerBreaker } from './peer-breaker.ts';

describe('a breaker for another service', () => {
  let peer: PeerBreaker;
  let warnings: string[];

  beforeEach(() => {
    jest.useFakeTimers();
    warnings = [];
    const logger = { warn: (_: object, message: string) => warnings.push(message) };
    peer = new PeerBreaker({ peer: 'policy', failures: 2, openMs: 500, logger });
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  const silence = () =>
    Promise.reject(new MayflyError('dependency_unavailable', 'policy did not answer in time'));
  const refusal = () => Promise.reject(new MayflyError('not_found', 'no'));
  const listenTo = async (...calls: (() => Promise<never>)[]) => {
    for (const call of calls) await expect(peer.listening(call)).rejects.toBeInstanceOf(MayflyError);
  };
  const refused = 'dependency_unavailable: policy does not answer';

  it('refuses after so many silences in a row what would need it, and says so once', async () => {
    await listenTo(silence);
    expect(() => peer.refuseWhileSilent()).not.toThrow();
    await listenTo(silence, silence);
    expect(() => peer.refuseWhileSilent()).toThrow(refused);
    expect(warnings).toHaveLength(1);
  });

  it('lets one through each while, and all when that one has had an answer', async () => {
    await listenTo(silence, silence);
    jest.advanceTimersByTime(500);
    expect(() => peer.refuseWhileSilent()).not.toThrow();
    expect(() => peer.refuseWhileSilent()).toThrow(refused);
    await listenTo(refusal);
    expect(() => peer.refuseWhileSilent()).not.toThrow();
    expect(() => peer.refuseWhileSilent()).not.toThrow();
  });

  it('takes a refusal for an answer, and no time left to ask for nothing', async () => {
    await listenTo(silence, refusal, silence);
    expect(() => peer.refuseWhileSilent()).not.toThrow();
    await withDeadline(0, () => listenTo(silence));
    expect(() => peer.refuseWhileSilent()).not.toThrow();
  });
});
