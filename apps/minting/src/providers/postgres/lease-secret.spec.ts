import { describe, expect, it } from '@jest/globals';
import { PostgresSecret, type PostgresIntegrationSettings } from '@mayfly/domain';
import { adminConnection } from './connecting/admin-url.ts';
import { leaseSecret } from './lease-secret.ts';

const leaseId = '0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21';
const username = 'mayfly_0199a3c47d1e7b3a9f102c5d8e6b4a21';

function secret(url: string, settings: Partial<PostgresIntegrationSettings> = {}) {
  const integrationSettings = { admin: 'env:ADMIN', ...settings };
  return PostgresSecret.parse(leaseSecret({ leaseId, integrationSettings }, adminConnection(url), 'p w'));
}

const at = (host: string, port = 5432) => ({ host, port });

describe('what the holder of a lease gets', () => {
  it.each([
    {
      what: 'nothing of TLS where the admin URL says nothing',
      url: 'postgres://admin:pw@db/shop',
      gives: { ...at('db'), database: 'shop' },
      as: 'db:5432/shop',
    },
    {
      what: 'the sslmode of the admin URL',
      url: 'postgres://admin:pw@db/shop?sslmode=verify-full&sslrootcert=/etc/ca.pem',
      gives: { ...at('db'), database: 'shop', sslmode: 'verify-full' },
      as: 'db:5432/shop?sslmode=verify-full',
    },
    {
      what: 'the sslmode of the integration instead',
      url: 'postgres://admin:pw@db/shop?sslmode=require',
      settings: { sslmode: 'verify-full' as const },
      gives: { ...at('db'), database: 'shop', sslmode: 'verify-full' },
      as: 'db:5432/shop?sslmode=verify-full',
    },
    {
      what: 'the CAs of its own machine, and channel binding',
      url: 'postgres://admin:pw@db/shop?sslrootcert=system&channel_binding=require',
      gives: {
        ...at('db'),
        database: 'shop',
        sslmode: 'verify-full',
        sslrootcert: 'system',
        channel_binding: 'require',
      },
      as: 'db:5432/shop?sslmode=verify-full&sslrootcert=system&channel_binding=require',
    },
    {
      what: 'nothing that goes with another sslmode only',
      url: 'postgres://admin:pw@db/shop?sslrootcert=system&channel_binding=require',
      settings: { sslmode: 'disable' as const },
      gives: { ...at('db'), database: 'shop', sslmode: 'disable' },
      as: 'db:5432/shop?sslmode=disable',
    },
    {
      what: 'several hosts, and that it wants the one with its role',
      url: 'postgres://admin:pw@a:1,b:2/shop',
      gives: {
        ...at('a', 1),
        hosts: [at('a', 1), at('b', 2)],
        database: 'shop',
        target_session_attrs: 'read-write',
      },
      as: 'a:1,b:2/shop?target_session_attrs=read-write',
    },
    {
      what: 'the attributes of the admin URL',
      url: 'postgres://admin:pw@a,b/shop?target_session_attrs=primary',
      gives: { ...at('a'), hosts: [at('a'), at('b')], database: 'shop', target_session_attrs: 'primary' },
      as: 'a:5432,b:5432/shop?target_session_attrs=primary',
    },
    {
      what: 'the hosts of the integration instead, without the attributes of the others',
      url: 'postgres://admin:pw@a,b/shop?target_session_attrs=primary',
      settings: { agent_host: 'c,d', agent_port: 6432 },
      gives: { ...at('c', 6432), hosts: [at('c', 6432), at('d', 6432)], database: 'shop' },
      as: 'c:6432,d:6432/shop',
    },
    {
      what: 'the folder of a socket',
      url: 'postgres://admin:pw@/shop?host=/run/pg&port=5433',
      gives: { ...at('/run/pg', 5433), database: 'shop' },
      as: '/shop?host=%2Frun%2Fpg&port=5433',
    },
    {
      what: 'a database of any name',
      url: 'postgres://admin:pw@db/%3A%20%2F%23%40+%25',
      gives: { ...at('db'), database: ': /#@+%' },
      as: 'db:5432/%3A%20%2F%23%40%2B%25',
    },
    {
      what: "the database that is named like the admin URL's user",
      url: 'postgres://admin:pw@[::1]',
      gives: { ...at('::1'), database: 'admin' },
      as: '[::1]:5432/admin',
    },
  ])('is $what', ({ url, settings, gives, as }) => {
    expect(secret(url, settings)).toEqual({
      ...gives,
      username,
      password: 'p w',
      url: `postgresql://${username}:p%20w@${as}`,
    });
  });

  it("is no path on minting's machine, no secret of the admin URL and nothing that is only the admin's", () => {
    const given = secret(
      'postgres://hunter1:hunter2@db/shop?sslmode=verify-ca&sslrootcert=/hunter3&sslcert=/hunter4&sslkey=/hunter5' +
        '&sslpassword=hunter6&application_name=hunter7&connect_timeout=3&ssl_min_protocol_version=TLSv1.3',
    );
    expect(JSON.stringify(given)).not.toMatch(/hunter|connect_timeout|TLSv1/);
  });
});
