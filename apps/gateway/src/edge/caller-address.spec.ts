import { describe, expect, it } from '@jest/globals';
import { sourceOf, TrustedProxies } from './caller-address.ts';

describe('the caller', () => {
  const none = new TrustedProxies();
  const some = new TrustedProxies('10.0.0.0/8, 2001:db8:ffff::/48,::1');

  it('is the socket’s address where no proxy is trusted, in its canonical form', () => {
    expect(none.callerOf('203.0.113.7', '198.51.100.1')).toBe('203.0.113.7');
    expect(none.callerOf('::ffff:203.0.113.7', undefined)).toBe('203.0.113.7');
    expect(none.callerOf('fe80::1%eth0', undefined)).toBe('fe80::1');
  });

  it.each<[string, string, string | undefined, string | undefined]>([
    ['what the proxy wrote', '10.1.2.3', '203.0.113.7', '203.0.113.7'],
    ['also of a mapped proxy', '::ffff:10.1.2.3', '203.0.113.7', '203.0.113.7'],
    ['without its port', '10.1.2.3', '203.0.113.7:5678', '203.0.113.7'],
    ['IPv6 with a port', '::1', '[2001:DB8::7]:80', '2001:db8::7'],
    ['IPv6 in capitals, mapped', '10.1.2.3', '::FFFF:CB00:7107', '203.0.113.7'],
    ['with a zone', '10.1.2.3', 'fe80::1%eth0', 'fe80::1'],
    ['beyond several proxies', '10.1.2.3', '203.0.113.7, 2001:db8:ffff::9,10.9.9.9:41', '203.0.113.7'],
    ['not what the caller wrote himself', '10.1.2.3', '10.0.0.1, 192.168.0.1, 203.0.113.7', '203.0.113.7'],
    ['nor anything that is no address there', '10.1.2.3', 'x"\'<, 203.0.113.7', '203.0.113.7'],
    ['not what somebody wrote who is no proxy', '203.0.113.9', '198.51.100.1', '203.0.113.9'],
    ['the farthest proxy, when all are', '10.1.2.3', '10.7.7.7', '10.7.7.7'],
    ['the proxy, when it wrote nothing', '10.1.2.3', undefined, '10.1.2.3'],
    ['nobody, when a proxy wrote no address', '10.1.2.3', '203.0.113.7, unknown', undefined],
    ['nobody, behind a second proxy either', '10.1.2.3', 'unix:, 10.7.7.7', undefined],
    [
      'nobody, when a proxy wrote nothing behind what the caller wrote',
      '10.1.2.3',
      '203.0.113.7, ',
      undefined,
    ],
    ['nobody, when the socket has gone', '', '203.0.113.7', undefined],
  ])('is %s', (_what, socket, header, caller) => {
    expect(some.callerOf(socket, header)).toBe(caller);
  });

  it.each([
    '10.0.0.0/33',
    '10.0.0.0/',
    'proxy.example',
    '10.0.0.1:80',
    '::1%eth0',
    '::/129',
    '::ffff:1.2.3.4/90',
  ])('is not to be told behind a proxy that is none: %s', (setting) => {
    expect(() => new TrustedProxies(setting)).toThrow('neither an address nor a range');
  });

  it('comes through a proxy that was written as a mapped range', () => {
    const mapped = new TrustedProxies('::ffff:10.0.0.0/104');
    expect([mapped.has('10.3.4.5'), mapped.has('11.0.0.1')]).toEqual([true, false]);
  });
});

describe('the source that is counted', () => {
  it('is an IPv4 address, and of IPv6 the network that one subscriber has', () => {
    expect(sourceOf('203.0.113.7')).toBe('203.0.113.7');
    for (const address of ['2001:db8:1:2::1', '2001:db8:1:2:ffff:1:2:3', '2001:db8:1:2::'])
      expect(sourceOf(address)).toBe('2001:db8:1:2::/64');
    expect(sourceOf('2001:db8:1:3::1')).toBe('2001:db8:1:3::/64');
    expect(sourceOf('::1')).toBe('0:0:0:0::/64');
    expect(sourceOf('2001:db8::5')).toBe('2001:db8:0:0::/64');
    expect(sourceOf('64:ff9b::c000:201')).toBe('64:ff9b:0:0::/64');
  });
});
