import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { http } from '@mayfly/contracts';
import { Secret } from '@mayfly/domain';
import { identityToken } from '../fixtures/command-line.ts';
import { FakeGateway, Refusal } from '../fixtures/gateway.ts';
import { until } from '../fixtures/until.ts';
import { GatewayClient } from './client.ts';
import { Session } from './session.ts';
import { traceparentOf } from './trace.ts';

const { heartbeat } = http.oauth;

describe('keeping a session alive', () => {
  let over: FakeGateway;
  let living: FakeGateway;
  beforeEach(async () => {
    [over, living] = await Promise.all([FakeGateway.start(), FakeGateway.start()]);
  });
  const stops: (() => void)[] = [];
  afterEach(async () => {
    for (const stop of stops.splice(0)) stop();
    await Promise.all([over.stop(), living.stop()]);
  });

  const open = ({ url }: FakeGateway) =>
    Session.open(
      new GatewayClient({ url, fetch, traceparent: traceparentOf({}) }),
      new Secret(identityToken()),
    );

  it('stops when the session has ended, and tells that once', async () => {
    over.refuse(heartbeat, 'unauthenticated', 'The session has ended.');
    const [ended, alive] = await Promise.all([open(over), open(living)]);
    let told = 0;
    ended.whenEnded(() => told++);
    stops.push(ended.keepAlive(0.6));
    await until(() => told > 0);
    const beats = over.called(heartbeat).length;
    // Another session beats as often as would show that this one has not stopped.
    stops.push(alive.keepAlive(0.6));
    await until(() => living.called(heartbeat).length === 4);
    expect(over.called(heartbeat)).toHaveLength(beats);
    expect(told).toBe(1);
    await expect(ended.call(heartbeat, {})).rejects.toMatchObject({ code: 'unauthenticated' });
    expect(told).toBe(1);
  });

  it('goes on after a refusal or two, which may be those of one replica', async () => {
    let beats = 0;
    living.handlers.set(heartbeat.name, () => {
      if (beats++ % 3 < 2) throw new Refusal('unauthenticated', 'The token is not signed with a known key.');
      return {};
    });
    const alive = await open(living);
    let told = 0;
    alive.whenEnded(() => told++);
    stops.push(alive.keepAlive(0.06));
    await until(() => beats >= 9);
    expect(told).toBe(0);
  });

  it('goes on after whatever else fails', async () => {
    let beats = 0;
    living.handlers.set(heartbeat.name, () => {
      if (beats++ < 2) throw new Refusal('dependency_unavailable', 'away');
      return {};
    });
    const alive = await open(living);
    stops.push(alive.keepAlive(0.06));
    await until(() => beats >= 4);
  });
});
