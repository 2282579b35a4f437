import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import pg from 'pg';
import { Claims } from '../ends/claims.ts';
import { leaseEvent } from '../lease-event.ts';
import { FakeBus, openWorld, until, type World } from '../register-fixtures.ts';
import { claimDueLeases, completeEnds, declareFailing, postpone } from '../store/due.ts';
import type { Register } from '../register.ts';
import type { Lease } from '../store/lease.ts';
import { Presence } from './presence.ts';

/** Far longer than a test takes: nothing happens because a time is over. */
const silentMs = 60_000;
const quick = { MAYFLY_DUE_POLL_MS: '100', MAYFLY_REPLICA_SILENT_MS: String(silentMs) };
/** With beats of its own. */
const beating = { MAYFLY_DUE_POLL_MS: '100', MAYFLY_REPLICA_SILENT_MS: '600' };

/** A replica that beats when the test says so. */
class HandDriven {
  readonly claims = new Claims();
  readonly told: string[] = [];
  freed = 0;
  /** Its own clock, in milliseconds; Postgres has another. */
  now = 0;
  readonly presence: Presence;
  readonly #pool: pg.Pool;
  #client: pg.PoolClient | undefined;

  constructor(url: string) {
    this.#pool = new pg.Pool({ connectionString: url, max: 1 });
    this.#pool.on('error', () => undefined);
    this.#pool.on('connect', (client) => (this.#client = client));
    const tell = (_: object, message: string) => this.told.push(message);
    this.presence = new Presence({
      pool: this.#pool,
      claims: this.claims,
      silentMs,
      logger: { warn: tell, error: tell } as never,
      onFreed: () => this.freed++,
    });
  }

  /** As when its process is killed: Postgres sees its socket go, and hears nothing more of it. */
  die(): void {
    (this.#client as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
  }

  beat(): Promise<void> {
    return this.presence.beat(this.now);
  }

  /** Beats in time for as long as another would have to be silent. */
  async beatInTime(): Promise<void> {
    for (let count = 0; count < 6; count++) {
      this.now += silentMs / 6;
      await this.beat();
    }
  }

  async close(): Promise<void> {
    await this.presence.stop();
    await this.#pool.end();
  }
}

describe('replicas', () => {
  let world: World;
  let driven: HandDriven[] = [];
  beforeEach(async () => {
    world = await openWorld();
  });
  afterEach(async () => {
    await Promise.all(driven.map((one) => one.close()));
    driven = [];
    await world.close();
  });

  /** One that has joined. */
  const replica = async () => {
    const one = new HandDriven(world.database.url);
    driven.push(one);
    await one.beat();
    one.freed = 0;
    return one;
  };

  const claim = (by: HandDriven): Promise<Lease[]> =>
    claimDueLeases(world.database.pool, {
      replicaId: by.presence.replicaId,
      limit: 10,
      perIntegration: 10,
      room: new Map(),
      isWide: true,
    });

  /** A lease that is due, and claimed by nobody. */
  const dueLease = async () => {
    const leaseId = await world.issue(world.replica());
    await world.database.pool.query(
      'UPDATE revocation.leases SET expires_at = now(), due_at = now() WHERE lease_id = $1',
      [leaseId],
    );
    return leaseId;
  };

  const giveBack = async ({ ends }: Register, leaseId: string) => {
    const act = { action: 'end_lease', lease_id: leaseId, reason: 'done' } as const;
    return (await ends.endLease(await world.assert(act))).outcome;
  };

  const claimDue = async (by: HandDriven): Promise<Lease> => {
    await dueLease();
    const [lease] = await claim(by);
    if (lease === undefined) throw new Error('nothing was due');
    return lease;
  };

  const rowsOf = async () =>
    (
      await world.database.pool.query<{ replica_id: string; backend_pid: number }>(
        'SELECT replica_id, backend_pid FROM revocation.replicas',
      )
    ).rows;

  const pidOf = async ({ replicaId }: Presence) =>
    (await rowsOf()).find(({ replica_id }) => replica_id === replicaId)?.backend_pid;

  /** Postgres has noticed. */
  const connectionGone = (pid: number | undefined) =>
    until(async () => {
      const query = 'SELECT FROM pg_stat_activity WHERE pid = $1';
      return (await world.database.pool.query(query, [pid])).rowCount === 0;
    });

  const silentSince = (ms: number, { replicaId }: Presence) =>
    world.database.pool.query(
      `UPDATE revocation.replicas SET heartbeat_at = clock_timestamp() - $1::double precision * interval '1 millisecond'
       WHERE replica_id = $2`,
      [ms, replicaId],
    );

  const expired = (lease: Lease) => ({
    leaseId: lease.leaseId,
    claims: lease.claims,
    state: 'expired' as const,
    event: leaseEvent('credential.expired', lease),
  });

  const inState = (leaseId: string, state: string) =>
    until(async () => (await world.row(leaseId))?.['state'] === state);

  it('that are killed are known to be dead by their connection, and what they had claimed is taken over at once', async () => {
    const [killed, other] = [await replica(), await replica()];
    const { leaseId } = await claimDue(killed);
    await other.beat();
    expect(await claim(other)).toEqual([]);
    const pid = await pidOf(killed.presence);

    killed.die();
    await connectionGone(pid);
    expect(other.freed).toBe(0);
    await other.beat();
    expect(other.freed).toBe(1);
    expect(other.told).toEqual(['another replica is dead; what it had claimed is taken over']);
    expect(await claim(other)).toEqual([expect.objectContaining({ leaseId, claims: 2 })]);
    expect(await rowsOf()).toHaveLength(1);
  });

  it('that are killed have their ends carried out by another long before its next look and the end of any claim', async () => {
    const killed = await replica();
    const { leaseId } = await claimDue(killed);
    const settings = { MAYFLY_DUE_POLL_MS: '60000', MAYFLY_REPLICA_SILENT_MS: '600' };
    const other = world.replica(settings);
    other.start();
    await until(() => other.presence.isPresent);
    killed.die();
    await inState(leaseId, 'expired');
    expect(world.bus.revoked).toEqual([leaseId]);
  });

  it('that are silent for too long are taken for dead although their connection is there', async () => {
    const [silent, other] = [await replica(), await replica()];
    const { leaseId } = await claimDue(silent);
    await silentSince(silentMs + 1_000, silent.presence);
    await other.beatInTime();
    expect(other.freed).toBe(1);
    expect(await claim(other)).toEqual([expect.objectContaining({ leaseId, claims: 2 })]);
  });

  it('that are slow themselves, or have a slow Postgres, take nobody for dead because of silence', async () => {
    const [silent, other] = [await replica(), await replica()];
    await claimDue(silent);
    await silentSince(silentMs + 1_000, silent.presence);
    for (let beat = 0; beat < 10; beat++) {
      other.now += silentMs / 2;
      await other.beat();
    }
    expect(other.freed).toBe(0);
    const pid = await pidOf(silent.presence);
    silent.die();
    await connectionGone(pid);
    await other.beat();
    expect(other.freed).toBe(1);
  });

  it('that live keep what they have claimed, however long it takes', async () => {
    const [slow, other] = [await replica(), await replica()];
    const { leaseId } = await claimDue(slow);
    // Two thirds of the silence between any two of its beats.
    for (let beat = 0; beat < 5; beat++) {
      await world.database.pool.query(
        `UPDATE revocation.replicas SET heartbeat_at = heartbeat_at - interval '40 s'`,
      );
      await other.beatInTime();
      await slow.beat();
    }
    expect(other.freed).toBe(0);
    expect(await claim(other)).toEqual([]);
    expect(await world.row(leaseId)).toMatchObject({ claims: 1, claimed_by: slow.presence.replicaId });
  });

  it('that wake up after another has taken over change nothing, say so, and join anew', async () => {
    const [paused, other] = [await replica(), await replica()];
    const before = await claimDue(paused);
    const { replicaId } = paused.presence;
    await silentSince(silentMs + 1_000, paused.presence);
    await other.beatInTime();
    const [after] = await claim(other);
    if (after === undefined) throw new Error('it was not taken over');

    const { pool } = world.database;
    await postpone(pool, before, 3_600_000, 'internal');
    expect(await declareFailing(pool, before, 0, 'internal', expired(before).event)).toBe(false);
    expect(await completeEnds(pool, [expired(before)])).toEqual(new Set());
    await paused.claims.hold(before, () => paused.beat());
    expect(paused.told).toEqual([expect.stringContaining('took it for dead')]);
    expect(paused.presence.replicaId).not.toBe(replicaId);
    expect(await world.row(before.leaseId)).toMatchObject({
      state: 'revoking',
      last_error: null,
      claims: 2,
      claimed_by: other.presence.replicaId,
    });
    expect(await claim(paused)).toEqual([]);
    expect(await completeEnds(pool, [expired(after)])).toEqual(new Set([before.leaseId]));
    expect(await world.eventsOf(before.leaseId)).toEqual(['credential.issued', 'credential.expired']);
    await claimDue(paused);
  });

  it('that were taken for dead claim nothing before they have joined anew, and finish what nobody has taken over', async () => {
    const [paused, other] = [await replica(), await replica()];
    const lease = await claimDue(paused);
    await silentSince(silentMs + 1_000, paused.presence);
    await other.beatInTime();
    await dueLease();
    expect(await claim(paused)).toEqual([]);
    expect(await completeEnds(world.database.pool, [expired(lease)])).toEqual(new Set([lease.leaseId]));
  });

  it('that lose their connection join anew with what they have in hand, and end it once', async () => {
    let finish: () => void = () => undefined;
    world.bus.onRevoke = () => new Promise((resolve) => (finish = () => resolve('revoked')));
    const [first, idle] = [world.replica(quick), new FakeBus()];
    const leaseId = await dueLease();
    first.start();
    await until(() => world.bus.running === 1);
    const before = first.presence.replicaId;
    await world.database.pool.query('SELECT pg_terminate_backend($1)', [await pidOf(first.presence)]);
    await until(() => first.presence.isPresent && first.presence.replicaId !== before);
    const second = world.replica(quick, idle);
    second.start();
    await until(() => second.presence.isPresent);
    second.due.nudge();
    expect((await rowsOf()).map((row) => row.replica_id).sort()).toEqual(
      [first.presence.replicaId, second.presence.replicaId].sort(),
    );
    expect(await world.row(leaseId)).toMatchObject({
      claims: 1,
      attempts: 1,
      claimed_by: first.presence.replicaId,
    });
    finish();
    await inState(leaseId, 'expired');
    expect([...world.bus.revoked, ...idle.revoked]).toEqual([leaseId]);
    expect(await world.eventsOf(leaseId)).toEqual(['credential.issued', 'credential.expired']);
  });

  it('all join anew after Postgres has crashed, and go on with their ends', async () => {
    const hands = [new FakeBus(), new FakeBus()];
    const finish: (() => void)[] = [];
    for (const hand of hands)
      hand.onRevoke = () => new Promise((resolve) => finish.push(() => resolve('revoked')));
    const registers = hands.map((hand) => world.replica(quick, hand));
    const leaseIds = [await dueLease(), await dueLease(), await dueLease()];
    for (const register of registers) register.start();
    await until(() => finish.length === 3);
    const before = registers.map(({ presence }) => presence.replicaId);
    // What a crash does to them: an unlogged table is empty, and no connection is left.
    await world.database.pool.query('TRUNCATE revocation.replicas');
    await world.database.pool.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`,
    );
    await until(() =>
      registers.every(({ presence }, index) => presence.isPresent && presence.replicaId !== before[index]),
    );
    for (const one of finish) one();
    const late = [await dueLease()];
    for (const hand of hands) hand.onRevoke = () => Promise.resolve('revoked');
    for (const leaseId of [...leaseIds, ...late]) {
      await until(async () => {
        for (const one of finish.splice(0)) one();
        return (await world.row(leaseId))?.['state'] === 'expired';
      });
      expect(await world.eventsOf(leaseId)).toEqual(['credential.issued', 'credential.expired']);
    }
  });

  it('do not keep a claim of which they have not heard, because the answer was lost', async () => {
    const leaseId = await dueLease();
    let isLost = false;
    const register = world.replica(beating, world.bus, undefined, (query, answer) => {
      if (isLost || query !== 'claim_due_leases' || answer.rowCount !== 1) return;
      isLost = true;
      throw new Error('Connection terminated unexpectedly');
    });
    register.start();
    await inState(leaseId, 'expired');
    expect(isLost).toBe(true);
    expect(await world.row(leaseId)).toMatchObject({ claims: 2 });
  });

  it('do not keep a lease that they were asked to end when the answer of its claim was lost', async () => {
    let isLost = false;
    const register = world.replica(beating, world.bus, undefined, (query) => {
      if (isLost || query !== 'start_end') return;
      isLost = true;
      throw new Error('Connection terminated unexpectedly');
    });
    register.start();
    await until(() => register.presence.isPresent);
    const leaseId = await world.issue(register);
    await expect(giveBack(register, leaseId)).rejects.toBeDefined();
    await inState(leaseId, 'revoked');
    expect(world.bus.revoked).toEqual([leaseId]);
  });

  it.each([
    ['was due', dueLease],
    [
      'they were asked for',
      async (register: Register) => {
        const leaseId = await world.issue(register);
        await until(() => register.presence.isPresent);
        await giveBack(register, leaseId);
        return leaseId;
      },
    ],
  ])('take up again an end that %s and could not be recorded', async (_, ending) => {
    const register = world.replica({ ...beating, MAYFLY_END_ANSWER_MS: '20' });
    const { pool } = world.database;
    world.bus.onRevoke = async () => {
      if (world.bus.revoked.length === 1) await pool.query('ALTER TABLE revocation.outbox RENAME TO hidden');
      return 'revoked';
    };
    register.start();
    const leaseId = await ending(register);
    await until(async () => ((await world.row(leaseId))?.['claims'] as number) > 1);
    await pool.query('ALTER TABLE revocation.hidden RENAME TO outbox');
    await until(async () => (await world.row(leaseId))?.['ended_at'] !== null);
  });

  it('have no claim when Postgres commits it only after they are dead', async () => {
    const other = await replica();
    const leaseId = await dueLease();
    await world.database.pool.query(
      `UPDATE revocation.leases SET claims = 1, claimed_by = gen_random_uuid(), claimed_until = now() + interval '5 minutes'
       WHERE lease_id = $1`,
      [leaseId],
    );
    expect(await claim(other)).toEqual([expect.objectContaining({ leaseId, claims: 2 })]);
  });

  it('that have just joined keep what they claim from those whose look at the leases began before', async () => {
    const { pool } = world.database;
    await pool.query(
      `INSERT INTO revocation.leases
       SELECT (jsonb_populate_record(l, jsonb_build_object('lease_id', gen_random_uuid()))).*
       FROM revocation.leases l, generate_series(1, 300) WHERE l.lease_id = $1`,
      [await dueLease()],
    );
    for (let round = 0; round < 40; round++) {
      await pool.query('UPDATE revocation.leases SET claims = 0, claimed_until = NULL');
      await Promise.all(
        Array.from({ length: 4 }, async () => {
          const replicaId = randomUUID();
          await pool.query(
            'INSERT INTO revocation.replicas (replica_id, backend_pid, backend_start) VALUES ($1, 1, now())',
            [replicaId],
          );
          const options = { replicaId, limit: 64, perIntegration: 64, room: new Map<string, number>() };
          for (let pass = 0; pass < 6; pass++) await claimDueLeases(pool, { ...options, isWide: true });
        }),
      );
      const { rowCount } = await pool.query('SELECT FROM revocation.leases WHERE claims > 1');
      expect(rowCount).toBe(0);
    }
  });

  it('hold no lease for longer than the longest that a claim lasts, although they live', async () => {
    const [stuck, other] = [await replica(), await replica()];
    const { leaseId } = await claimDue(stuck);
    const claimedUntil = (await world.row(leaseId))?.['claimed_until'] as Date;
    expect(claimedUntil.getTime() - Date.now()).toBeGreaterThan(240_000);
    await world.database.pool.query('UPDATE revocation.leases SET claimed_until = now()');
    expect(await claim(other)).toEqual([expect.objectContaining({ leaseId, claims: 2 })]);
  });

  it('wait for nobody when they beat, or join', async () => {
    const [silent, other] = [await replica(), await replica()];
    const lease = await claimDue(other);
    await silentSince(silentMs + 1_000, silent.presence);
    const writer = await world.database.pool.connect();
    try {
      await writer.query('BEGIN');
      await writer.query('SELECT FROM revocation.replicas WHERE replica_id = $1 FOR UPDATE', [
        silent.presence.replicaId,
      ]);
      await writer.query('SELECT FROM revocation.leases FOR UPDATE');
      // Whoever is beating at this moment lives.
      await other.beatInTime();
      expect(other.freed).toBe(0);
      await world.database.pool.query('DELETE FROM revocation.replicas WHERE replica_id = $1', [
        other.presence.replicaId,
      ]);
      await other.claims.hold(lease, () => other.beat());
    } finally {
      await writer.query('ROLLBACK');
      writer.release();
    }
    await other.beatInTime();
    expect(await rowsOf()).toEqual([expect.objectContaining({ replica_id: other.presence.replicaId })]);
  });

  it('that each take all others for dead at once all join anew', async () => {
    const all = await Promise.all(Array.from({ length: 6 }, () => replica()));
    for (let round = 0; round < 20; round++) {
      await world.database.pool.query(`UPDATE revocation.replicas SET heartbeat_at = '2000-01-01'`);
      for (const one of all) one.now += silentMs / 6;
      await Promise.all(all.map((one) => one.beat()));
    }
    for (const one of all) await one.beat();
    expect((await rowsOf()).map((row) => row.replica_id).sort()).toEqual(
      all.map(({ presence }) => presence.replicaId).sort(),
    );
  });

  it('that stop leave, and what they have not finished is taken over at once', async () => {
    const [stopping, other] = [await replica(), await replica()];
    const { leaseId } = await claimDue(stopping);
    await stopping.presence.stop();
    expect(await claim(other)).toEqual([expect.objectContaining({ leaseId })]);

    const register = world.replica(quick);
    register.start();
    await until(() => register.presence.isPresent);
    expect(await rowsOf()).toHaveLength(2);
    await register.stop();
    expect(await rowsOf()).toHaveLength(1);
  });

  it('that are dead keep nobody from ending a lease that they had claimed', async () => {
    const [killed, other] = [await replica(), world.replica(quick)];
    const { leaseId } = await claimDue(killed);
    expect(await giveBack(other, leaseId)).toBe('ending');
    await world.database.pool.query('DELETE FROM revocation.replicas');
    expect(await giveBack(other, leaseId)).toBe('revoked');
  });
});
