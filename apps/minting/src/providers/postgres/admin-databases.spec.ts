import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Secret } from '@mayfly/domain';
import { AdminDatabases } from './admin-databases.ts';
import { makeCertificate } from './connecting/certificates.fixture.ts';

describe('AdminDatabases', () => {
  let databases: AdminDatabases;
  beforeEach(() => {
    databases = new AdminDatabases({ maxConnections: 1, statementTimeoutMs: 1_000, connectTimeoutMs: 1_000 });
  });
  afterEach(() => databases.close());

  const url = 'postgres://admin@db/shop?sslcert=/c.pem&sslkey=/k.pem';
  const filesOf = ({ cert, key }: { cert: string; key: string }) => ({
    cert: new Secret(cert),
    key: new Secret(key),
  });

  it('keeps one database for a URL and its files, and another for a key that was renewed', () => {
    const [before, renewed] = [makeCertificate({ name: 'admin' }), makeCertificate({ name: 'admin' })];
    const database = databases.open(url, filesOf(before));
    expect(databases.open(url, filesOf(before))).toBe(database);
    expect(databases.open(url, filesOf(renewed))).not.toBe(database);
  });

  it('never gives out a connection made with a key to whoever has only its path', () => {
    databases.open(url, filesOf(makeCertificate({ name: 'admin' })));
    expect(() => databases.open(url)).toThrow(/sslcert and sslkey of the admin URL/);
  });
});
