import { describe, expect, it } from '@jest/globals';
import { natsServerConfig, natsUsers } from './nats-server-config.ts';

const base = { port: 4222, storeDirectory: '/data/jetstream' };

describe('natsServerConfig', () => {
  it('listens on the loopback unless told otherwise', () => {
    expect(natsServerConfig(base)).toContain('listen: "127.0.0.1:4222"');
    expect(natsServerConfig({ ...base, host: '0.0.0.0' })).toContain('listen: "0.0.0.0:4222"');
  });

  it('says "nothing" as a denial of everything, since an empty list means everything to nats-server', () => {
    const users = {
      some: { nkey: 'UA', permissions: { publish: [], subscribe: ['a.>'], allowResponses: false } },
    };
    const config = natsServerConfig({ ...base, users });
    expect(config).toContain('publish: { deny: [">"] }');
    expect(config).toContain('subscribe: { allow: ["a.>"] }');
    expect(config).not.toContain('allow_responses');
  });

  it('refuses text that would end a string', () => {
    expect(() => natsServerConfig({ ...base, storeDirectory: '/data" }' })).toThrow(/can't be part of/u);
  });

  it('renders TLS', () => {
    const tls = { certFile: '/tls/server.crt', keyFile: '/tls/server.key', caFile: '/tls/ca.crt' };
    expect(natsServerConfig({ ...base, tls })).toContain('cert_file: "/tls/server.crt"');
  });
});

describe('natsUsers', () => {
  it('refuses permissions of a service that has no key', () => {
    const permissions = { policy: { publish: [], subscribe: [], allowResponses: true } };
    expect(() => natsUsers(permissions, {})).toThrow('There is no NATS key for policy.');
  });
});
