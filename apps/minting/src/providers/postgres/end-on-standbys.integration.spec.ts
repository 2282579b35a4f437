/**
 * Ends of leases whose holder is on a hot standby, at a real primary and real streaming standbys: told only when they are true
 * everywhere. What the standby has not replayed yet is made by pausing its replay.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { createServer, type AddressInfo } from 'node:net';
import pg from 'pg';
import { ProviderRejected } from '../provider-error.ts';
import type { Minted } from '../provider.ts';
import { loginRoleName } from './role-names.ts';
import { Replicated } from './standby.fixture.ts';
import { query, servers, succeeds, Upstream, urlOf } from './upstream.fixture.ts';

let replicated: Replicated;
beforeAll(async () => {
  // A session on the second one holds up the replay for ever, if it can.
  replicated = await Replicated.start(2, { max_standby_streaming_delay: '-1' });
}, 60_000);
afterAll(() => replicated.stop());

interface Lease {
  readonly leaseId: string;
  readonly role: string;
  readonly minted: Minted;
}

for (const admin of ['superuser', 'createrole'] as const) {
  describe(`the end of a lease that is used on a standby (admin with ${admin})`, () => {
    let upstream: Upstream;
    const open: pg.Client[] = [];
    beforeAll(async () => {
      upstream = await Upstream.make(replicated.primary.adminUrl, admin);
      upstream.settings = { standbys: ['env:STANDBY_0', 'env:STANDBY_1'] };
      replicated.standbys.forEach((_, index) =>
        upstream.references.set(`env:STANDBY_${index}`, adminAt(index)),
      );
    });
    afterEach(async () => {
      await Promise.all(open.splice(0).map((client) => client.end().catch(() => undefined)));
      for (const index of [0, 1]) await resume(index);
      upstream.settings = { standbys: ['env:STANDBY_0', 'env:STANDBY_1'] };
    });
    afterAll(() => upstream.close());

    const at = (url: string, index: number) => url.replace(/:\d+\//, `:${standby(index).port}/`);
    const adminAt = (index: number) => at(upstream.adminUrl, index);
    const asSuperuserAt = (index: number, text: string) => query(standby(index).adminUrl, text);
    const pause = (index: number) => asSuperuserAt(index, 'SELECT pg_wal_replay_pause()');
    const resume = (index: number) =>
      asSuperuserAt(index, 'SELECT pg_wal_replay_resume() WHERE pg_is_in_recovery()');

    /** On all standbys at once. */
    const lease = async (): Promise<Lease> => {
      const leaseId = crypto.randomUUID();
      const minted = await upstream.mint(leaseId);
      return { leaseId, role: loginRoleName(leaseId), minted };
    };
    const replayed = () => Promise.all(replicated.standbys.map((one) => replicated.caughtUp(one)));
    const end = ({ leaseId, minted }: Lease) => upstream.revoke(leaseId, minted);
    /** What an end that is not told says. */
    const refusal = (ending: Promise<unknown>): Promise<string> =>
      ending.then(
        (outcome) => `it was told: ${String(outcome)}`,
        (error: unknown) =>
          error instanceof ProviderRejected ? error.reason : `no refusal: ${String(error)}`,
      );
    const logIn = async (
      { minted }: Lease,
      index: number,
      more: pg.ClientConfig = {},
    ): Promise<pg.Client> => {
      const client = new pg.Client({ connectionString: at(urlOf(minted), index), ...more });
      client.on('error', () => undefined);
      open.push(client);
      await client.connect();
      return client;
    };
    const answers = (client: pg.Client) => succeeds(client.query('SELECT 1'));
    const canLogIn = ({ minted }: Lease, index: number) =>
      succeeds(query(at(urlOf(minted), index), 'SELECT 1'));
    const expectNoAccess = async (one: Lease) => {
      expect(await succeeds(query(urlOf(one.minted), 'SELECT 1'))).toBe(false);
      for (const index of [0, 1]) {
        expect(await canLogIn(one, index)).toBe(false);
        const left = await asSuperuserAt(
          index,
          `SELECT a.pid FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid
            WHERE a.usesysid IS NOT NULL AND (r.rolname IS NULL OR r.rolname = '${one.role}')`,
        );
        expect(left).toEqual([]);
      }
    };

    it('cuts its sessions there, and nobody logs in again', async () => {
      const one = await lease();
      await replayed();
      const sessions = [await logIn(one, 0), await logIn(one, 1)];
      expect(await end(one)).toBe('revoked');
      for (const session of sessions) expect(await answers(session)).toBe(false);
      await expectNoAccess(one);
      expect(await upstream.roles(`^${one.role}$`)).toEqual([]);
    });

    it('is not told while a standby still lets it log in, although its sessions are cut', async () => {
      const one = await lease();
      await replayed();
      const session = await logIn(one, 0);
      await pause(0);
      expect(await refusal(end(one))).toMatch(
        /^the standby env:STANDBY_0 has not replayed the end of the lease yet/,
      );
      expect(await answers(session)).toBe(false);
      expect(await succeeds(query(urlOf(one.minted), 'SELECT 1'))).toBe(false);
      // What makes it right to wait.
      expect(await canLogIn(one, 0)).toBe(true);
      await resume(0);
      expect(await end(one)).toBe('revoked');
      await expectNoAccess(one);
    });

    it('is not told on the word of a standby that has not heard of the lease yet', async () => {
      await replayed();
      await pause(1);
      const one = await lease();
      expect(await refusal(end(one))).toMatch(/^the standby env:STANDBY_1 has not replayed/);
      await resume(1);
      expect(await end(one)).toBe('revoked');
      await expectNoAccess(one);
    });

    it('is not told while a standby is away, and says which', async () => {
      const port = await closedPort();
      upstream.references.set('env:AWAY', upstream.adminUrl.replace(/:\d+\//, `:${port}/`));
      upstream.settings = { standbys: ['env:STANDBY_0', 'env:AWAY'] };
      const one = await lease();
      await replayed();
      const session = await logIn(one, 0);
      expect(await refusal(end(one))).toBe('the standby env:AWAY: the database cannot be reached');
      // One that is away holds up neither the primary nor the others.
      expect(await answers(session)).toBe(false);
      expect(await succeeds(query(urlOf(one.minted), 'SELECT 1'))).toBe(false);
      expect(await canLogIn(one, 0)).toBe(false);
      upstream.settings = { standbys: ['env:STANDBY_0'] };
      expect(await end(one)).toBe('revoked');
    });

    it('is not told when a reference leads to no standby of the primary', async () => {
      upstream.references.set('env:OTHER', servers[0]?.url ?? '');
      upstream.settings = { standbys: ['env:OTHER'] };
      const one = await lease();
      expect(await refusal(end(one))).toMatch(/^the standby env:OTHER is no physical standby/);
      upstream.settings = { standbys: [] };
      expect(await end(one)).toBe('revoked');
    });

    it('comes through to who logs in again and again', async () => {
      const one = await lease();
      await replayed();
      let logins = 0;
      let isOver = false;
      const again = async () => {
        while (!isOver) {
          const session = await logIn(one, 0).catch(() => undefined);
          if (session === undefined) continue;
          logins++;
          await session.query('SELECT pg_sleep(60)').catch(() => undefined);
        }
      };
      await logIn(one, 0);
      await pause(0);
      const attackers = [again(), again(), again()];
      expect(await refusal(end(one))).toMatch(/has not replayed/);
      expect(logins).toBeGreaterThan(3);
      const ending = end(one);
      await resume(0);
      expect(await ending).toBe('revoked');
      await expectNoAccess(one);
      isOver = true;
      await Promise.all(attackers);
    });

    it('cuts at once also what custom statements have made', async () => {
      const leaseId = crypto.randomUUID();
      const minted = await upstream.mint(leaseId, upstream.bounds, {
        creation_statements: [
          'CREATE ROLE {{name}} LOGIN PASSWORD {{verifier}} VALID UNTIL {{expiration}}',
          'GRANT {{group}} TO {{name}}',
        ],
      });
      const one = { leaseId, role: loginRoleName(leaseId), minted };
      await replayed();
      const session = await logIn(one, 0);
      await pause(0);
      expect(await refusal(end(one))).toMatch(/has not replayed/);
      expect(await answers(session)).toBe(false);
      await resume(0);
      expect(await end(one)).toBe('revoked');
      await expectNoAccess(one);
    });

    it('comes through to a session that holds up the replay', async () => {
      const one = await lease();
      await replayed();
      const session = await logIn(one, 1);
      await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM shop.orders');
      await upstream.asSuperuser('DELETE FROM shop.orders; INSERT INTO shop.orders (note) VALUES (1)');
      await upstream.asSuperuser('VACUUM shop.orders');
      const isHeldUp = `SELECT FROM pg_stat_activity WHERE backend_type = 'startup' AND wait_event LIKE 'RecoveryConflict%'`;
      while ((await asSuperuserAt(1, isHeldUp)).length === 0);
      expect(await end(one)).toBe('revoked');
      expect(await answers(session)).toBe(false);
      await expectNoAccess(one);
    });

    it('cuts a session there that has logged in and is not seen yet', async () => {
      const one = await lease();
      await replayed();
      const late = logIn(one, 0, { options: '-c post_auth_delay=20' }).then(answers);
      const isStarting = `SELECT FROM pg_locks l WHERE l.locktype = 'object' AND l.classid = 'pg_database'::regclass
         AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = l.pid AND a.usesysid IS NOT NULL)`;
      while ((await asSuperuserAt(0, isStarting)).length === 0);
      expect(await end(one)).toBe('revoked');
      expect(await late.catch(() => false)).toBe(false);
      await expectNoAccess(one);
    });

    it('looks for sessions there also when somebody has dropped the role', async () => {
      const one = await lease();
      await replayed();
      const session = await logIn(one, 0);
      await upstream.asSuperuser(`DROP OWNED BY ${one.role}; DROP ROLE ${one.role}`);
      await replayed();
      expect(await answers(session)).toBe(true);
      if (admin === 'createrole') {
        expect(await refusal(end(one))).toBe(
          'the privileged credential may not end the sessions of the lease at the standby env:STANDBY_0',
        );
        await session.end();
      }
      await pause(1);
      await upstream.asSuperuser('CREATE TABLE shop.more ()');
      await upstream.asSuperuser('DROP TABLE shop.more');
      expect(await refusal(end(one))).toMatch(/^the standby env:STANDBY_1 has not replayed/);
      await resume(1);
      expect(await end(one)).toBe('already_gone');
      expect(await answers(session)).toBe(false);
      await expectNoAccess(one);
    });

    it('of a mint that was never told of, too', async () => {
      const one = await lease();
      await replayed();
      const session = await logIn(one, 0);
      const reconcile = () =>
        upstream.provider.reconcile({ ...upstream.context(one.leaseId), credentialSettings: {} });
      await pause(0);
      expect(await refusal(reconcile())).toMatch(/^the standby env:STANDBY_0 has not replayed/);
      await resume(0);
      expect(await reconcile()).toEqual({ outcome: 'removed' });
      expect(await answers(session)).toBe(false);
      await expectNoAccess(one);
    });

    it('is refused by the mint where agents may land on standbys that nobody names', async () => {
      const url = new URL(upstream.adminUrl);
      const hosts = `127.0.0.1:${url.port},127.0.0.1:${standby(0).port}`;
      const several = upstream.adminUrl.replace(`127.0.0.1:${url.port}`, hosts);
      const adminUrl = upstream.adminUrl;
      try {
        upstream.adminUrl = `${several}?target_session_attrs=any`;
        upstream.settings = {};
        expect(await refusal(lease())).toMatch(
          /^the integration's admin URL names several hosts and lets agents/,
        );
        upstream.settings = { agent_host: 'replicas.example' };
        expect(await refusal(lease())).toMatch(
          /^"agent_host" of the integration sends agents to another server/,
        );
        upstream.settings = { standbys: ['env:SEVERAL'] };
        upstream.references.set('env:SEVERAL', several);
        expect(await refusal(lease())).toMatch(
          /^the standby env:SEVERAL: its connection URL names several hosts/,
        );
      } finally {
        upstream.adminUrl = adminUrl;
      }
    });
  });
}

describe('a standby that was promoted', () => {
  it('is a server of its own: a lease that can log in there has not ended', async () => {
    const upstream = await Upstream.make(replicated.primary.adminUrl, 'superuser');
    try {
      const [mine] = [standby(1)];
      const url = upstream.adminUrl.replace(/:\d+\//, `:${mine.port}/`);
      upstream.references.set('env:PROMOTED', url);
      upstream.settings = { standbys: ['env:PROMOTED'] };
      const [before, after] = [crypto.randomUUID(), crypto.randomUUID()];
      const lost = await upstream.mint(before);
      await replicated.caughtUp(mine);
      await query(mine.adminUrl, 'SELECT pg_promote()');
      const reason = upstream.revoke(before, lost).catch((error: ProviderRejected) => error.reason);
      expect(await reason).toMatch(
        /^the standby env:PROMOTED has been promoted, and the lease can still log in/,
      );
      // By hand, or by an end there.
      await query(mine.adminUrl, `ALTER ROLE ${loginRoleName(before)} NOLOGIN`);
      expect(await upstream.revoke(before, lost)).toBe('revoked');
      // One of which it will never hear.
      expect(await upstream.revoke(after, await upstream.mint(after))).toBe('revoked');
    } finally {
      await upstream.close();
    }
  });
});

/** Where nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function standby(index: number) {
  const found = replicated.standbys[index];
  if (found === undefined) throw new RangeError('no such standby');
  return found;
}
