/** Mayfly's own Postgres: pools, transactions, migrations, and a database in which services can't read each other. */
export { connectionStringFor, inDatabase, redactConnectionString } from './connection-string.ts';
export { asDependencyError, isDependencyFailure } from './dependency-error.ts';
export { migrate, type MigrationSettings } from './migrate.ts';
export { createPool, type PoolSettings } from './pool.ts';
export { quoteName, quoteText } from './quoting.ts';
export { defaultScramIterations, randomPassword, scramVerifier } from './scram-verifier.ts';
export {
  accessStatements,
  auditorRole,
  ensureServiceDatabase,
  type ServiceDatabase,
  type ServiceRole,
} from './service-roles.ts';
export { inTransaction } from './transaction.ts';
