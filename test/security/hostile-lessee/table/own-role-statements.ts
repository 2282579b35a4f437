/** Statements that hold up whoever alters or drops the attacker's role. */
import type { Lessee } from '../lessee.ts';

/** Writes the row of its own role, and changes nothing: every role may set its own password. */
export const touchOwnRole = ({ role, lease }: Lessee) => `ALTER ROLE ${role} PASSWORD '${lease.password}'`;

/** Names of prepared transactions are the server's, so each has the role's name in it. */
export const gid = ({ lease }: Lessee, number = 0) => `${lease.role} ${String(number)}`;

export const prepareOwnRole = (lessee: Lessee, number?: number) =>
  `BEGIN; ${touchOwnRole(lessee)}; PREPARE TRANSACTION '${gid(lessee, number)}'`;

/** Makes a large object and grants it to another role, which can't be dropped until this has ended. Inside a transaction or not. */
export const grantLargeObjectTo = (role: string) =>
  `DO $$ BEGIN EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO ${role}', lo_create(0)); END $$`;
