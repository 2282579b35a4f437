import { request, type ClientRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import Fastify, { type FastifyInstance } from 'fastify';
import { GatewaySettings } from '../settings.ts';
import { Admission, sourceKeyOf } from './admission.ts';

const settings = GatewaySettings.parse({ MAYFLY_NATS_URL: 'x', MAYFLY_KEYS: 'x', MAYFLY_MAX_IN_FLIGHT: 4 });

describe('Admission', () => {
  let gateway: FastifyInstance;
  let open: ClientRequest[];
  let refused: string[];

  beforeEach(async () => {
    open = [];
    gateway = Fastify();
    refused = [];
    new Admission(settings).register(gateway, (cause) => refused.push(cause));
    gateway.post('/', () => 'done');
    await gateway.listen({ port: 0, host: '127.0.0.1' });
  });
  afterEach(async () => {
    for (const pending of open) pending.destroy();
    await gateway.close();
  });

  function post(localAddress: string): ClientRequest {
    const { port } = gateway.server.address() as AddressInfo;
    const made = request({ port, host: '127.0.0.1', localAddress, method: 'POST', agent: false });
    made.on('error', () => undefined);
    open.push(made);
    return made;
  }
  const status = (sent: ClientRequest) =>
    new Promise<number | undefined>((resolve) => {
      sent.on('response', (response) => resolve(response.resume().statusCode)).end();
    });
  /** Sends the head of a request and keeps its body back; resolves when the gateway has taken it in. */
  const holdBack = (localAddress: string) =>
    new Promise<void>((resolve) => {
      gateway.server.once('request', () => resolve());
      const held = post(localAddress);
      held.setHeader('content-type', 'text/plain').setHeader('content-length', 10);
      held.flushHeaders();
    });

  it('keeps places for others when one address sends many bodies slowly, and gives its own back', async () => {
    for (let count = 0; count < 2; count++) await holdBack('127.0.0.2');
    expect(await status(post('127.0.0.2'))).toBe(429);
    expect(refused).toEqual(['source_in_flight']);
    expect(await status(post('127.0.0.3'))).toBe(200);
    open[0]?.destroy();
    let again: number | undefined;
    for (const deadline = Date.now() + 5_000; again !== 200 && Date.now() < deadline;) {
      again = await status(post('127.0.0.2'));
    }
    expect(again).toBe(200);
  });
});

describe('the source that is counted', () => {
  it('is an IPv4 address, and of IPv6 the network that one subscriber has', () => {
    expect(sourceKeyOf('203.0.113.7')).toBe('203.0.113.7');
    const ofOneNetwork = ['2001:db8:1:2::1', '2001:db8:1:2:ffff:1:2:3', '2001:0DB8:0001:0002::'];
    expect(ofOneNetwork.map(sourceKeyOf)).toEqual(ofOneNetwork.map(() => '2001:db8:1:2::/64'));
    expect(sourceKeyOf('2001:db8:1:3::1')).toBe('2001:db8:1:3::/64');
    expect(sourceKeyOf('::1')).toBe('0:0:0:0::/64');
    expect(sourceKeyOf('2001:db8::5')).toBe('2001:db8:0:0::/64');
    expect(sourceKeyOf('64:ff9b::192.0.2.1')).toBe('64:ff9b:0:0::/64');
  });
});
