/**
 * A database that came from an older server, or was restored by another role: the roles are there, the memberships that PostgreSQL 16
 * and later go by are not. Made here as the dump makes them: by a superuser, with no word of the privileged role.
 */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { deadlineIn } from '../deadline.ts';
import type { Minted } from '../provider.ts';
import { AdminDatabase } from './admin-database.ts';
import { creatorRoles } from './creator-roles.ts';
import { findMissingGrant } from './missing-grant.ts';
import { groupRoleName, loginRoleName } from './role-names.ts';
import { ScopeGroups } from './scope-groups.ts';
import { deadlineMs, query, servers, succeeds, Upstream, urlOf, limits } from './upstream.fixture.ts';

describe.each(servers)('a database that came from elsewhere ($name)', ({ url }) => {
  let upstream: Upstream;
  let isNew: boolean;
  let extra: string[] = [];

  beforeAll(async () => {
    const probe = await Upstream.make(url, 'createrole');
    isNew = (await probe.facts()).version >= 160_000;
    await probe.close();
  });
  beforeEach(async () => {
    upstream = await Upstream.make(url, 'createrole');
    extra = [];
  });
  afterEach(async () => {
    for (const role of [...extra, ...(await upstream.roles('^mayfly_(scope|narrow)_'))]) {
      await upstream.asSuperuser(`DROP OWNED BY ${role}; DROP ROLE ${role}`).catch(() => undefined);
    }
    await upstream.close();
  });

  const group = () =>
    groupRoleName(
      { organization: 'acme', integration: 'shop-db', database: upstream.database },
      upstream.bounds,
      upstream.bounds,
    );
  const creators = async () => creatorRoles(await upstream.facts());
  const restore = async (text: string, ...roles: string[]) => {
    extra.push(...roles);
    await upstream.asSuperuser(text);
  };
  const readsOrders = ({ secret }: Pick<Minted, 'secret'>) =>
    succeeds(query(urlOf({ secret }), 'SELECT * FROM shop.orders'));
  const findMissing = async (name: string) => {
    const database = new AdminDatabase(upstream.adminUrl, limits);
    try {
      return await findMissingGrant(database, name, await upstream.facts(), deadlineIn(deadlineMs));
    } finally {
      await database.close();
    }
  };

  it('makes another group when the one that is there is nobody’s to grant', async () => {
    await restore(`CREATE ROLE ${group()} NOLOGIN; GRANT USAGE ON SCHEMA shop TO ${group()}`, group());
    const leaseId = crypto.randomUUID();
    const minted = await upstream.mint(leaseId);
    expect(await readsOrders(minted)).toBe(true);
    const used = await upstream.asSuperuser(
      `SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
        WHERE m.member = '${loginRoleName(leaseId)}'::regrole`,
    );
    expect(used).toEqual([{ rolname: isNew ? `${group()}_2` : group() }]);
    expect(await upstream.revoke(leaseId, minted)).toBe('revoked');
  });

  it('sweeps a narrowed group that stands in for another, and leaves the other alone', async () => {
    const place = { organization: 'acme', integration: 'shop-db', database: upstream.database };
    const name = groupRoleName(place, upstream.narrower, upstream.bounds);
    await restore(`CREATE ROLE ${name} NOLOGIN`, name);
    const leaseId = crypto.randomUUID();
    const minted = await upstream.mint(leaseId, upstream.narrower);
    expect(await readsOrders(minted)).toBe(true);
    expect(minted.handle).toMatchObject({ narrowed: true });
    await upstream.revoke(leaseId, minted);
    const database = new AdminDatabase(upstream.adminUrl, limits);
    try {
      const groups = new ScopeGroups({ freshMs: 60_000, deadlineMs: 10_000, retiredMs: 0 });
      const { retired, left } = await groups.sweep(database, place);
      expect(retired).toEqual([isNew ? `${name}_2` : name]);
      expect(left).toBe(0);
    } finally {
      await database.close();
    }
    expect(await upstream.roles(`^${name}`)).toEqual(isNew ? [name] : []);
  });

  it('makes other creator roles when those that are there are nobody’s to act as', async () => {
    const theirs = await creators();
    if (theirs === undefined) return;
    const leaseId = crypto.randomUUID();
    const [parent, creator] = [theirs.parent, theirs.of(loginRoleName(leaseId))];
    await restore(
      `CREATE ROLE ${parent}; CREATE ROLE ${creator} CREATEROLE; GRANT ${parent} TO ${creator}`,
      parent,
      creator,
    );
    const minted = await upstream.mint(leaseId);
    expect(await readsOrders(minted)).toBe(true);
    const second = creatorRoles(await upstream.facts(), 2);
    const [row] = await upstream.asSuperuser(
      `SELECT member::regrole::text AS member FROM pg_auth_members WHERE roleid = '${loginRoleName(leaseId)}'::regrole`,
    );
    expect(row?.['member']).toBe(second?.of(loginRoleName(leaseId)));
    expect(await upstream.renew(leaseId, minted, 300)).not.toBe('gone');
    expect(await upstream.revoke(leaseId, minted)).toBe('revoked');
  });

  it.each(['the role alone', 'the role and the one that made it'])(
    'I10: says which GRANT is missing when a lease cannot be ended, and it is the one: %s',
    async (what) => {
      const leaseId = crypto.randomUUID();
      const name = loginRoleName(leaseId);
      const handle = { revocation_statements: [], narrowed: false };
      const theirs = await creators();
      const creator = theirs?.of(name) ?? '';
      await restore(
        `CREATE ROLE ${name} LOGIN PASSWORD 'pw'; CREATE SCHEMA theirs AUTHORIZATION ${name}`,
        name,
      );
      if (what !== 'the role alone' && isNew) {
        await restore(
          `CREATE ROLE ${creator} CREATEROLE; GRANT ${name} TO ${creator} WITH ADMIN OPTION`,
          creator,
        );
      }
      const url = new URL(upstream.adminUrl);
      Object.assign(url, { username: name, password: 'pw' });
      if (!isNew) {
        expect(await findMissing(name)).toBeUndefined();
        expect(await upstream.revoke(leaseId, { handle })).toBe('revoked');
        return;
      }
      await expect(upstream.revoke(leaseId, { handle })).rejects.toMatchObject({ code: 'provider_rejected' });
      expect(await succeeds(query(url.href, 'SELECT 1'))).toBe(true);

      const missing = await findMissing(name);
      const granted = what === 'the role alone' ? name : creator;
      expect(missing?.statement).toBe(`GRANT "${granted}" TO "${upstream.admin}" WITH ADMIN OPTION`);
      expect(missing?.sentence).toContain(missing?.statement);
      await upstream.asSuperuser(missing?.statement ?? '');
      expect(await findMissing(name)).toBeUndefined();
      expect(await upstream.revoke(leaseId, { handle })).toBe('revoked');
      expect(await upstream.roles(`^${name}$`)).toEqual([]);
    },
  );

  it('mints again when the privileged role is a superuser no longer', async () => {
    if (!isNew) return;
    await upstream.asSuperuser(`ALTER ROLE ${upstream.admin} SUPERUSER`);
    const before = crypto.randomUUID();
    const first = await upstream.mint(before);
    await upstream.asSuperuser(`ALTER ROLE ${upstream.admin} NOSUPERUSER`);
    const second = crypto.randomUUID();
    // What it may do was asked once; the refusal has it asked again.
    await expect(upstream.mint(second)).rejects.toMatchObject({ code: 'provider_rejected' });
    const minted = await upstream.mint(second);
    expect(await readsOrders(minted)).toBe(true);
    expect(await upstream.revoke(second, minted)).toBe('revoked');
    await upstream.asSuperuser((await findMissing(loginRoleName(before)))?.statement ?? 'SELECT 1');
    expect(await upstream.revoke(before, first)).toBe('revoked');
  });

  it('says so when the privileged role has lost CREATEROLE', async () => {
    const leaseId = crypto.randomUUID();
    const minted = await upstream.mint(leaseId);
    await upstream.asSuperuser(`ALTER ROLE ${upstream.admin} NOCREATEROLE`);
    expect(await findMissing(loginRoleName(leaseId))).toMatchObject({
      statement: `ALTER ROLE "${upstream.admin}" CREATEROLE`,
    });
    await upstream.asSuperuser(`ALTER ROLE ${upstream.admin} CREATEROLE`);
    expect(await findMissing(loginRoleName(leaseId))).toBeUndefined();
    expect(await upstream.revoke(leaseId, minted)).toBe('revoked');
  });
});
