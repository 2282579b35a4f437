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

  describe('where leases live', () => {
    const minute = 60_000;
    const plain = 'postgres://admin:old@db/shop';
    const rotated = 'postgres://admin:new@db/shop';
    const shop = { organization: 'acme', integration: 'shop-db', admin: 'env:SHOP' };
    let now: number;
    let kept: AdminDatabases;
    beforeEach(() => {
      now = 0;
      kept = new AdminDatabases(
        { maxConnections: 1, statementTimeoutMs: 1_000, connectTimeoutMs: 1_000 },
        () => now,
      );
    });
    afterEach(() => kept.close());

    /** Lets time pass, and somebody ask for another database. */
    const pass = (milliseconds: number) => {
      now += milliseconds;
      kept.open('postgres://admin@elsewhere/x');
    };

    it('is kept until the last of them has ended, and ten minutes more', () => {
      const database = kept.open(plain, {}, shop);
      kept.expectLease(shop, 60 * minute);
      kept.expectLease(shop, 5 * minute);
      pass(59 * minute);
      expect(kept.withLeases()).toEqual([{ at: shop, database }]);
      pass(10 * minute);
      expect(kept.withLeases()).toEqual([]);
      expect(database.isClosed).toBe(false);
      pass(2 * minute);
      expect(database.isClosed).toBe(true);
      expect(kept.open(plain, {}, shop)).not.toBe(database);
    });

    it('is let go after ten minutes where none is known of', () => {
      const database = kept.open(plain, {}, shop);
      pass(9 * minute);
      expect(database.isClosed).toBe(false);
      pass(2 * minute);
      expect(database.isClosed).toBe(true);
    });

    it('is where the reference leads to now: what a password opened that was rotated goes', () => {
      const before = kept.open(plain, {}, shop);
      kept.expectLease(shop, 60 * minute);
      const after = kept.open(rotated, {}, shop);
      expect(kept.withLeases()).toEqual([{ at: shop, database: after }]);
      pass(11 * minute);
      expect(before.isClosed).toBe(true);
      expect(kept.withLeases()).toEqual([{ at: shop, database: after }]);
    });

    it('is kept for one integration when another that used it has moved', () => {
      const other = { ...shop, integration: 'shop-reports' };
      const database = kept.open(plain, {}, shop);
      kept.open(plain, {}, other);
      for (const at of [shop, other]) kept.expectLease(at, 60 * minute);
      const moved = kept.open(rotated, {}, other);
      expect(kept.withLeases()).toEqual([
        { at: shop, database },
        { at: other, database: moved },
      ]);
      pass(11 * minute);
      expect(database.isClosed).toBe(false);
    });

    it('is kept however many others there are, of which only so many are', () => {
      const database = kept.open(plain, {}, shop);
      kept.expectLease(shop, 60 * minute);
      const first = kept.open('postgres://admin@db0/x');
      for (let index = 1; index <= 256; index++) kept.open(`postgres://admin@db${index}/x`);
      expect(database.isClosed).toBe(false);
      expect(first.isClosed).toBe(true);
    });
  });
});
