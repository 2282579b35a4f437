/**
 * A server all of whose connections are taken by leases, which connect again whenever they are cut off: a minting that has just
 * started gets a connection for ends all the same, and says what it takes to never be without.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres, type OwnPostgres } from '@mayfly/stack/postgres';
import { Secret } from '@mayfly/domain';
import pg from 'pg';
import { deadlineIn } from '../deadline.ts';
import { ProviderUnavailable } from '../provider-error.ts';
import type { Minted } from '../provider.ts';
import type { ConnectionObserver, ReservedUnused, ServerConnections } from './connection-observer.ts';
import { PostgresProvider } from './postgres-provider.ts';
import { loginRoleName } from './role-names.ts';
import { deadlineMs, limits, query, succeeds, Upstream, urlOf } from './upstream.fixture.ts';

/** All that there are but three for superusers and two for members of pg_use_reserved_connections. */
const forAll = 15;

/** What a minting that has just started knows of the world. */
class Restarted implements ConnectionObserver {
  readonly unused: ReservedUnused[] = [];
  read: () => readonly ServerConnections[] = () => [];
  readonly provider = new PostgresProvider({ ...limits, connectionObserver: this });

  watch(read: () => readonly ServerConnections[]): void {
    this.read = read;
  }

  reservedUnused(found: ReservedUnused): void {
    this.unused.push(found);
  }

  async keptSoon(): Promise<void> {
    while (this.read()[0]?.isKept !== true) await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Sessions of a lease that come back as often as they are cut. */
class Stubborn {
  readonly #clients = new Set<pg.Client>();
  #stopped = false;
  #loops: Promise<void>[] = [];

  constructor(private readonly minted: Pick<Minted, 'secret'>) {}

  /** Connects until the server has nothing left to give. */
  async fill(): Promise<number> {
    while ((await this.#connect()) !== undefined);
    return this.#clients.size;
  }

  /** Gives one connection back. */
  async leaveOne(): Promise<void> {
    const [client] = this.#clients;
    await client?.end();
  }

  /** Tries to connect over and over, in several loops at once. */
  harass(loops = 8): void {
    this.#loops = Array.from({ length: loops }, async () => {
      while (!this.#stopped) await this.#connect();
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#loops);
    await Promise.all([...this.#clients].map((client) => client.end()));
  }

  async #connect(): Promise<pg.Client | undefined> {
    const client = new pg.Client({ connectionString: urlOf(this.minted) });
    client.on('error', () => undefined);
    client.on('end', () => this.#clients.delete(client));
    if (!(await succeeds(client.connect()))) return undefined;
    this.#clients.add(client);
    return client;
  }
}

describe('the connections of a server', () => {
  let folder: string;
  let postgres: OwnPostgres;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mayfly-capacity-'));
    chmodSync(folder, 0o711);
    postgres = await startPostgres({
      dataDirectory: join(folder, 'data'),
      removeOnStop: true,
      settings: {
        fsync: 'off',
        max_connections: '20',
        superuser_reserved_connections: '3',
        reserved_connections: '2',
      },
    });
  });
  afterAll(async () => {
    await postgres.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** A lease that holds all connections that are there for it, after the minting that made it has died. */
  async function taken(
    admin: 'superuser' | 'createrole',
    prepare: (upstream: Upstream) => Promise<unknown> = () => Promise.resolve(),
  ) {
    const upstream = await Upstream.make(postgres.adminUrl, admin);
    await prepare(upstream);
    const leaseId = crypto.randomUUID();
    const minted = await upstream.mint(leaseId, upstream.bounds, { connection_limit: 100 });
    await upstream.provider.close();
    const agents = new Stubborn(minted);
    expect(await agents.fill()).toBe(forAll);
    const restarted = new Restarted();
    const context = () => ({ ...upstream.context(leaseId), handle: minted.handle });
    return {
      upstream,
      agents,
      restarted,
      role: loginRoleName(leaseId),
      minted,
      inspect: () => restarted.provider.inspect(context()),
      end: () =>
        restarted.provider.revoke({ ...context(), deadline: deadlineIn(deadlineMs, { isVital: true }) }),
      close: async () => {
        await agents.stop();
        await restarted.provider.close();
        await upstream.close();
      },
    };
  }
  type Taken = Awaited<ReturnType<typeof taken>>;

  async function expectEnds({ upstream, end, role, minted }: Taken) {
    await end();
    const [left] = await upstream.asSuperuser(
      `SELECT count(*)::int AS sessions FROM pg_stat_activity WHERE usename = '${role}'`,
    );
    expect(left).toEqual({ sessions: 0 });
    expect(await succeeds(query(urlOf(minted), 'SELECT 1'))).toBe(false);
  }

  it('are taken; a restarted minting gets the next one that becomes free, and ends the lease with it', async () => {
    const all = await taken('createrole');
    try {
      await expect(all.inspect()).rejects.toThrow(ProviderUnavailable);
      expect(all.restarted.read()).toEqual([{ organization: 'acme', integration: 'shop-db', isKept: false }]);
      await all.agents.leaveOne();
      await all.restarted.keptSoon();
      all.agents.harass();
      await expectEnds(all);
    } finally {
      await all.close();
    }
  }, 60_000);

  it('are taken; a restarted minting gets one of those that are reserved, where its role may', async () => {
    const all = await taken('createrole', (upstream) =>
      upstream.asSuperuser(`GRANT pg_use_reserved_connections TO ${upstream.admin}`),
    );
    try {
      expect(await all.inspect()).toBe('present');
      await all.restarted.keptSoon();
      expect(all.restarted.read()).toEqual([
        {
          organization: 'acme',
          integration: 'shop-db',
          isKept: true,
          capacity: { leases: 100, available: forAll },
        },
      ]);
      expect(all.restarted.unused).toEqual([]);
      all.agents.harass();
      await expectEnds(all);
    } finally {
      await all.close();
    }
  }, 60_000);

  it('that are reserved and of no use to Mayfly are told once, with the GRANT that changes it', async () => {
    const upstream = await Upstream.make(postgres.adminUrl, 'createrole');
    const { provider, unused } = new Restarted();
    try {
      const leaseId = crypto.randomUUID();
      const { handle } = await upstream.mint(leaseId);
      const inspect = (adminUrl = upstream.adminUrl) => {
        const secrets = () => Promise.resolve(new Secret(adminUrl));
        return provider.inspect({ ...upstream.context(leaseId), secrets, handle });
      };
      await inspect();
      await inspect();
      // The same server and role by another URL.
      await inspect(`${upstream.adminUrl}?application_name=other`);
      const grant = `GRANT pg_use_reserved_connections TO "${upstream.admin}" WITH INHERIT TRUE`;
      expect(unused).toEqual([{ organization: 'acme', integration: 'shop-db', reserved: 2, grant }]);
      await upstream.asSuperuser(grant);
      const after = new Restarted();
      await after.provider.inspect({ ...upstream.context(leaseId), handle });
      expect(after.unused).toEqual([]);
      await after.provider.close();
      await upstream.revoke(leaseId, { handle });
    } finally {
      await provider.close();
      await upstream.close();
    }
  }, 60_000);
});
