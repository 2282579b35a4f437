/** What a lease can do to its own role, which its end must alter and drop. */
import type { Attack } from '../attack.ts';
import { gid, prepareOwnRole, touchOwnRole } from './own-role-statements.ts';

export const ownRole: readonly Attack[] = [
  {
    name: 'locks its own role in a transaction that stays open',
    attack: async ({ lessee }) => {
      await lessee.having(`BEGIN; ${touchOwnRole(lessee)}`);
    },
  },
  {
    name: 'locks its own role in a transaction that is prepared',
    attack: async ({ lessee }) => {
      await lessee.having(prepareOwnRole(lessee));
    },
  },
  {
    name: 'locks its own role, with three more sessions waiting for the same',
    attack: async ({ lessee }) => {
      await lessee.having(`BEGIN; ${touchOwnRole(lessee)}`);
      for (let count = 0; count < 3; count++) {
        const session = await lessee.having('BEGIN');
        session.send(touchOwnRole(lessee));
      }
    },
  },
  {
    name: 'alters its own role in a tight loop, in four sessions',
    attack: async ({ lessee }) => {
      for (let count = 0; count < 4; count++) {
        const session = await lessee.having('SELECT 1');
        session.send(
          `DO $$ BEGIN LOOP
             BEGIN ALTER ROLE CURRENT_USER PASSWORD '${lessee.lease.password}'; EXCEPTION WHEN OTHERS THEN NULL; END;
             COMMIT;
           END LOOP; END $$`,
        );
      }
      lessee.keep(async () => {
        const session = await lessee.session();
        await session.query(touchOwnRole(lessee));
        await session.leave();
      });
    },
  },
  {
    name: 'prepares a lock of its own role again and again',
    attack: async ({ lessee, accomplices: [accomplice = lessee] }) => {
      let number = 0;
      const again = async () => {
        number += 1;
        const session = await lessee.having(prepareOwnRole(lessee, number));
        await session.query(`ROLLBACK PREPARED '${gid(lessee, number - 1)}'`).catch(() => undefined);
        await session.leave();
      };
      await again();
      lessee.keep(again);
      await accomplice.having(prepareOwnRole(accomplice));
    },
  },
  {
    name: 'sets settings of its own role in transactions that stay open and are prepared',
    attack: async ({ lessee }) => {
      await lessee.having(`ALTER ROLE CURRENT_USER SET work_mem = '64kB'`);
      await lessee.having(`BEGIN; ALTER ROLE CURRENT_USER SET search_path = 'x'`);
      await lessee.having(
        `BEGIN; ALTER ROLE CURRENT_USER IN DATABASE postgres SET search_path = 'x'; PREPARE TRANSACTION '${gid(lessee)}'`,
      );
    },
  },
  {
    name: 'makes its log-in slow and its sessions endless',
    attack: async ({ lessee }) => {
      const session = await lessee.session();
      for (const setting of [
        'statement_timeout = 0',
        'lock_timeout = 0',
        'idle_in_transaction_session_timeout = 0',
        "client_min_messages = 'debug5'",
        "temp_buffers = '1GB'",
        "default_transaction_isolation = 'serializable'",
        `search_path = '${'x'.repeat(60)}', '${'y'.repeat(60)}'`,
        `application_name = '/* mint ${lessee.lease.role} */'`,
      ])
        await session.query(`ALTER ROLE CURRENT_USER SET ${setting}`);
      await lessee.having('BEGIN; SELECT * FROM shop.orders');
      (await lessee.session()).send('SELECT pg_sleep(600)');
    },
  },
  {
    name: 'locks its own role from another database',
    attack: async ({ lessee }) => {
      await lessee.having(`BEGIN; ${touchOwnRole(lessee)}`, { database: 'postgres' });
      await lessee.having('SELECT 1', { database: 'template1' });
    },
  },
  {
    name: 'prepares a lock of its own role in another database',
    attack: async ({ lessee }) => {
      await lessee.having(prepareOwnRole(lessee), { database: 'postgres' });
    },
  },
  {
    name: 'has nine leases hold up their ends, each in every way',
    leases: Array.from({ length: 9 }, () => ({})),
    attack: async ({ lessee, accomplices }) => {
      for (const each of [lessee, ...accomplices]) {
        await each.having(`BEGIN; ${touchOwnRole(each)}`);
        await each.having(`BEGIN; ALTER ROLE CURRENT_USER SET work_mem = '64kB'`);
        await each.having(`BEGIN; SELECT lo_create(0)`);
      }
    },
  },
];
