/** What PostgreSQL refuses a lease. The end of one that has tried is like any other. */
import { refused, type Attack } from '../attack.ts';

export const refusals: readonly Attack[] = [
  {
    name: 'asks for what only others may do',
    attack: async ({ lessee, accomplices: [accomplice = lessee], neighbours, upstream }) => {
      const sessionsOf = (role: string) => `FROM pg_stat_activity WHERE usename = '${role}'`;
      await accomplice.having(`BEGIN; SELECT lo_create(0); PREPARE TRANSACTION '${accomplice.lease.role}'`);
      await refused(
        lessee,
        // More for itself, or for longer.
        ...['SUPERUSER', 'CREATEROLE', 'CREATEDB', 'REPLICATION', 'BYPASSRLS', 'CONNECTION LIMIT -1'].map(
          (option) => `ALTER ROLE CURRENT_USER ${option}`,
        ),
        `ALTER ROLE CURRENT_USER VALID UNTIL 'infinity'`,
        'CREATE ROLE another LOGIN',
        'CREATE DATABASE another',
        'CREATE TABLE shop.another (id int)',
        'CREATE SCHEMA another',
        // Another's place.
        `SET ROLE ${upstream.admin}`,
        `SET SESSION AUTHORIZATION ${upstream.admin}`,
        `SET ROLE ${accomplice.role}`,
        `ALTER ROLE ${upstream.admin} PASSWORD 'x'`,
        `REASSIGN OWNED BY ${upstream.admin} TO CURRENT_USER`,
        `ALTER DEFAULT PRIVILEGES FOR ROLE ${upstream.admin} GRANT SELECT ON TABLES TO CURRENT_USER`,
        ...neighbours.map((neighbour) => `DROP ROLE ${neighbour}`),
        ...neighbours.map((neighbour) => `SELECT pg_terminate_backend(pid) ${sessionsOf(neighbour)}`),
        `SELECT pg_cancel_backend(pid) ${sessionsOf(upstream.admin)}`,
        `ROLLBACK PREPARED '${accomplice.lease.role}'`,
        // The server.
        `CREATE EVENT TRIGGER watching ON ddl_command_start EXECUTE FUNCTION suppress_redundant_updates_trigger()`,
        `SELECT pg_create_logical_replication_slot('${lessee.lease.role.slice(0, 30)}', 'pgoutput')`,
        `SELECT pg_create_physical_replication_slot('${lessee.lease.role.slice(0, 30)}')`,
        'CREATE PUBLICATION everything FOR ALL TABLES',
        `CREATE SUBSCRIPTION everything CONNECTION '' PUBLICATION everything`,
        `ALTER SYSTEM SET fsync = 'on'`,
        `ALTER DATABASE ${upstream.database} SET search_path = 'x'`,
        `SET log_statement = 'none'`,
        `SET session_preload_libraries = 'x'`,
        `COPY shop.orders FROM PROGRAM 'true'`,
        `COPY shop.orders TO '/tmp/mayfly-orders'`,
        `SELECT pg_read_file('postgresql.conf')`,
        `SELECT lo_import('/etc/passwd')`,
        'SELECT * FROM pg_authid',
        'LOCK TABLE pg_auth_members IN EXCLUSIVE MODE',
        'SELECT pg_reload_conf()',
        'CREATE EXTENSION dblink',
        'CREATE EXTENSION file_fdw',
        `CREATE TRIGGER spy AFTER INSERT ON shop.orders EXECUTE FUNCTION suppress_redundant_updates_trigger()`,
        `CREATE FUNCTION pg_temp.c() RETURNS int LANGUAGE c AS 'libc', 'getpid'`,
      );
    },
  },
];
