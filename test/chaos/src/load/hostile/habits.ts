/** What hostile lessees do with a lease: each habit stood, at some time, in the way of an end or of other agents. */
import type { Random } from '../random.ts';
import type { HostileSession } from './hostile-session.ts';

/** One lease in hostile hands. */
export interface HostileLease {
  readonly leaseId: string;
  readonly random: Random;
  /** Opens another session, which is kept for as long as the server lets it; undefined where the login was refused. */
  open(settings?: string): Promise<HostileSession | undefined>;
  /** Resolves so many milliseconds before the lease ends, as far as its holder knows. */
  untilBeforeItsEnd(milliseconds: number): Promise<void>;
}

export interface Habit {
  readonly name: string;
  /** The first version (`server_version_num`) of PostgreSQL that does not let it happen. */
  readonly before?: number;
  /** Resolves with whether it took hold, when that is known. Never rejects. */
  practise(lease: HostileLease): Promise<boolean>;
}

/** Enough to make `DROP OWNED` slow, and few enough for the two cores of a small machine. */
const largeObjects = 3_000;

const lockOwnRow = `ALTER ROLE CURRENT_USER PASSWORD 'hostile'`;

/** Seconds between a login and the first statement, during which the session is in none of the server's views. */
const delayed = '-c post_auth_delay=5';

/** The keys under which earlier releases locked a group and the granting of privileges: eight bytes of a hash of the name. */
const lockKeys = `
  SELECT ('x' || left(encode(sha256(convert_to(name, 'UTF8')), 'hex'), 16))::bit(64)::bigint AS key
    FROM (SELECT 'mayfly group ' || rolname AS name FROM pg_roles WHERE rolname ~ '^mayfly_(scope|narrow)_'
          UNION ALL SELECT 'mayfly privileges') AS names`;

/** Leaves, while its transaction is open, a lock on the role of each lease that it grants to. */
const grantToOthers = `
  DO $hostile$ DECLARE object oid := lo_create(0); other name; BEGIN
    FOR other IN SELECT rolname FROM pg_roles
                  WHERE rolname ~ '^mayfly_[0-9a-f]{32}$' AND rolname <> current_user ORDER BY random() LIMIT 3
    LOOP
      EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO %I', object, other);
    END LOOP;
  END $hostile$`;

const createAsGroups = `
  DO $hostile$ DECLARE own name := session_user; held name; BEGIN
    FOR held IN SELECT rolname FROM pg_roles WHERE pg_has_role(own, oid, 'MEMBER') AND rolname <> own LOOP
      EXECUTE format('SET ROLE %I', held);
      PERFORM lo_create(0) FROM generate_series(1, 20);
    END LOOP;
  END $hostile$`;

export const habits: readonly Habit[] = [
  {
    name: 'row-lock',
    practise: async (lease) => {
      const inTransaction = async () => sendAll(await lease.open(), 'BEGIN', lockOwnRow);
      const holder = await inTransaction();
      // The others wait for the lock that the first one has.
      for (let others = lease.random.between(0, 3); others > 0; others--) void inTransaction();
      return holder;
    },
  },
  {
    name: 'prepared-transaction',
    practise: async (lease) => {
      const session = await lease.open();
      const prepare = (statement: string) => {
        const name = `hostile ${lease.leaseId} ${String(lease.random.between(0, 1e9))}`;
        return sendAll(session, 'BEGIN', statement, `PREPARE TRANSACTION '${name}'`);
      };
      return (await prepare(lockOwnRow)) && (await prepare(grantToOthers));
    },
  },
  {
    name: 'every-connection',
    practise: async (lease) => {
      let sessions = 0;
      while ((await lease.open()) !== undefined) sessions++;
      return sessions > 0;
    },
  },
  {
    name: 'large-objects',
    practise: async (lease) =>
      sendAll(
        await lease.open(),
        `SELECT count(lo_create(0)) FROM generate_series(1, ${String(largeObjects)})`,
      ),
  },
  {
    name: 'grant-to-others',
    practise: async (lease) => sendAll(await lease.open(), 'BEGIN', grantToOthers),
  },
  {
    name: 'advisory-locks',
    practise: async (lease) => {
      const first = lease.random.between(0, 1e6);
      // Waits in the queue while another has them.
      void sendAll(
        await lease.open(),
        `SELECT pg_advisory_lock(key) FROM (${lockKeys} ORDER BY key) AS keys`,
      );
      return sendAll(
        await lease.open(),
        `SELECT pg_advisory_lock(key) FROM generate_series(${String(first)}, ${String(first + 200)}) AS key`,
      );
    },
  },
  {
    name: 'delayed-login',
    practise: async (lease) => {
      // Sessions that have logged in and are not to be seen yet: one at once, one right before the end.
      const first = lease.open(delayed);
      await lease.untilBeforeItsEnd(lease.random.between(50, 400));
      const second = lease.open(delayed);
      return (await Promise.all([first, second])).some((session) => session !== undefined);
    },
  },
  {
    name: 'create-as-group',
    before: 160_000,
    practise: async (lease) => sendAll(await lease.open(), createAsGroups),
  },
];

/** Sends one statement after the other, and resolves with whether all of them worked. */
async function sendAll(session: HostileSession | undefined, ...statements: string[]): Promise<boolean> {
  for (const statement of statements) if ((await session?.send(statement)) !== true) return false;
  return true;
}

/** The habits that a server of this version (`server_version_num`) lets happen; only those of these names, where names are given. */
export function habitsAt(
  version: number,
  names: readonly string[] = habits.map(({ name }) => name),
): readonly Habit[] {
  return habits.filter(({ name, before = Infinity }) => version < before && names.includes(name));
}
