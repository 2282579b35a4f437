/** Advisory locks, which every role may take and hold. */
import { createHash } from 'node:crypto';
import type { Attack } from '../attack.ts';

/** The keys under which Mayfly once kept groups and privileges in order, which anybody could work out. */
const lockKey = (of: string) => `'${createHash('sha256').update(of).digest().readBigInt64BE()}'::bigint`;

export const advisoryLocks: readonly Attack[] = [
  {
    name: 'holds advisory locks of whatever has a name, in both modes',
    attack: async ({ lessee, accomplices: [accomplice = lessee], group, upstream }) => {
      const keys = [
        lockKey('mayfly privileges'),
        lockKey(`mayfly group ${group}`),
        ...[group, upstream.admin, 'mayfly privileges', lessee.lease.role].flatMap((name) => [
          lockKey(name),
          `hashtextextended('${name}', 0)`,
          `hashtext('${name}')`,
        ]),
      ];
      const creators = `SELECT pg_advisory_lock(hashtextextended(rolname, 0)) FROM pg_roles WHERE rolname ~ '^mayfly_creators'`;
      await accomplice.having(
        `${keys.map((key) => `SELECT pg_advisory_lock(${key})`).join(';')}; ${creators}`,
      );
    },
  },
  {
    name: 'storms advisory locks, some shared, some for a moment',
    attack: async ({ lessee, accomplices: [accomplice = lessee], group }) => {
      const key = lockKey(`mayfly group ${group}`);
      for (const each of [lessee, accomplice]) {
        const session = await each.having(
          'SELECT pg_advisory_lock_shared(number) FROM generate_series(1, 2000) number',
        );
        each.keep(() =>
          session.query(`BEGIN; SELECT pg_advisory_xact_lock_shared(${key}); SELECT pg_sleep(0.05); COMMIT`),
        );
      }
    },
  },
  {
    name: 'prepares a transaction that holds advisory locks',
    attack: async ({ lessee, group }) => {
      await lessee.having(
        `BEGIN; SELECT pg_advisory_xact_lock(${lockKey('mayfly privileges')}), pg_advisory_xact_lock(${lockKey(`mayfly group ${group}`)});
         PREPARE TRANSACTION '${lessee.lease.role} locks'`,
      );
    },
  },
];
