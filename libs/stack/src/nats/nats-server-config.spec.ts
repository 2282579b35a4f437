import { describe, expect, it } from '@jest/globals';
import { natsServerConfig } from './nats-server-config.ts';

const base = { port: 4222, storeDirectory: '/data/jetstream' };

describe('natsServerConfig', () => {
  it('listens on the loopback unless told otherwise', () => {
    expect(natsServerConfig(base)).toContain('listen: "127.0.0.1:4222"');
    expect(natsServerConfig({ ...base, host: '0.0.0.0' })).toContain('listen: "0.0.0.0:4222"');
  });

  it('refuses text that would end a string', () => {
    expect(() => natsServerConfig({ ...base, storeDirectory: '/data" }' })).toThrow(/can't be part of/u);
  });

  it('refuses to go without the key of a user, who would be nobody then', () => {
    expect(() => natsServerConfig({ ...base, nkeys: { policy: 'UA' } })).toThrow(
      /There is no NATS key for gateway/u,
    );
  });

  it('renders TLS', () => {
    const tls = { certFile: '/tls/server.crt', keyFile: '/tls/server.key', caFile: '/tls/ca.crt' };
    expect(natsServerConfig({ ...base, tls })).toContain('cert_file: "/tls/server.crt"');
  });
});
