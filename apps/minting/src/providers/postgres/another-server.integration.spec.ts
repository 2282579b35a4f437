/** A reference that leads to another server than at the mint: two real ones. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { JsonObject } from '@mayfly/contracts';
import { Secret } from '@mayfly/domain';
import { startPostgres, type OwnPostgres } from '@mayfly/stack/postgres';
import { chmodSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { ProviderRejected } from '../provider-error.ts';
import { loginRoleName } from './role-names.ts';
import { query, servers, succeeds, Upstream, urlOf } from './upstream.fixture.ts';

describe.each(servers)('a reference that was changed to another server ($name)', ({ url }) => {
  let otherServer: OwnPostgres;

  beforeAll(async () => {
    const dataDirectory = mkdtempSync(join(tmpdir(), 'mayfly-another-server-'));
    // Postgres' user must be able to pass through.
    chmodSync(dataDirectory, 0o711);
    otherServer = await startPostgres({
      dataDirectory,
      removeOnStop: true,
      settings: { fsync: 'off', full_page_writes: 'off' },
    });
  });
  afterAll(() => otherServer?.stop());

  describe.each(['superuser', 'createrole'] as const)('admin with %s', (admin) => {
    let made: Upstream;
    let other: Upstream;

    beforeAll(async () => {
      made = await Upstream.make(url, admin);
      other = await Upstream.make(otherServer.adminUrl, admin);
    });
    afterAll(async () => {
      await made?.close();
      await other?.close();
    });

    /** The provider and the lease of the one server, the reference of the other. */
    const changed = (leaseId: string, handle: JsonObject) => ({
      ...made.context(leaseId),
      secrets: () => Promise.resolve(new Secret(other.adminUrl)),
      handle,
    });
    const renewed = { ttlSeconds: 60, notAfter: new Date(Date.now() + 3_600_000) };

    it('I10: ends nothing and says so, until the reference leads back', async () => {
      const leaseId = crypto.randomUUID();
      const minted = await made.mint(leaseId);
      const open = new pg.Client({ connectionString: urlOf(minted) });
      const cut = new Promise<void>((resolve) =>
        open.on('error', () => resolve()).on('end', () => resolve()),
      );
      await open.connect();
      const away = changed(leaseId, minted.handle);

      const error = await made.provider.revoke(away).catch((thrown: unknown) => thrown as ProviderRejected);
      expect(error).toMatchObject({
        code: 'provider_rejected',
        effect: 'none',
        reason: expect.stringContaining('another server answers') as unknown,
      });
      const { server } = minted.handle as { server: { system: string; database: string } };
      expect(server).toEqual({ system: expect.stringMatching(/^\d+$/) as unknown, database: made.database });
      const { cause } = error as { cause: Error };
      for (const told of [server.system, made.database, other.database])
        expect(cause.message).toContain(told);
      expect(await made.provider.inspect(away)).toBe('unknown');
      await expect(made.provider.renew({ ...away, ...renewed })).rejects.toMatchObject({
        code: 'provider_rejected',
      });
      expect((await open.query('SELECT 1')).rowCount).toBe(1);

      expect(await made.revoke(leaseId, minted)).toBe('revoked');
      await cut;
      expect(await succeeds(query(urlOf(minted), 'SELECT 1'))).toBe(false);
      // The same server is believed.
      expect(await made.revoke(leaseId, minted)).toBe('already_gone');
      expect(await made.provider.inspect({ ...made.context(leaseId), handle: minted.handle })).toBe('absent');
      expect(await made.renew(leaseId, minted, 60)).toBe('gone');
    });

    it('ends what it finds at whichever server: an upgrade makes another identity and keeps the roles', async () => {
      const leaseId = crypto.randomUUID();
      const minted = await made.mint(leaseId);
      await other.mint(leaseId);
      expect(await made.provider.inspect(changed(leaseId, minted.handle))).toBe('present');
      expect(await made.provider.revoke(changed(leaseId, minted.handle))).toBe('revoked');
      expect(await other.roles(`^${loginRoleName(leaseId)}$`)).toEqual([]);
      expect(await made.revoke(leaseId, minted)).toBe('revoked');
    });

    it('believes every server when the handle does not tell where it was made, as those of before', async () => {
      const leaseId = crypto.randomUUID();
      const minted = await made.mint(leaseId);
      const { server, ...handle } = minted.handle;
      expect(server).toBeDefined();
      const away = changed(leaseId, handle);
      expect(await made.provider.revoke(away)).toBe('already_gone');
      expect(await made.provider.inspect(away)).toBe('absent');
      expect(await made.provider.renew({ ...away, ...renewed })).toBe('gone');
      expect(await made.revoke(leaseId, minted)).toBe('revoked');
    });
  });

  it('mints without the identity where a server does not tell it, and believes it then only', async () => {
    const silent = await Upstream.make(url, 'createrole');
    try {
      await silent.asSuperuser('REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC');
      const leaseId = crypto.randomUUID();
      const minted = await silent.mint(leaseId);
      expect(minted.handle).not.toHaveProperty('server');
      expect(await silent.revoke(leaseId, minted)).toBe('revoked');
      expect(await silent.revoke(leaseId, minted)).toBe('already_gone');
      // The server where that was made did tell.
      const handle = { ...minted.handle, server: { system: '7', database: 'shop' } };
      await expect(silent.revoke(leaseId, { handle })).rejects.toMatchObject({ code: 'provider_rejected' });
    } finally {
      await silent.close();
    }
  });
});
