/** The programs that Mayfly's stack and its tests need beside Node. */
import { findProgram, type ProgramSearch } from './find-program.ts';

/**
 * `nats-server` (2.9.10 or newer), from MAYFLY_NATS_SERVER, the PATH or the system's package.
 * @throws ProgramMissing
 */
export function findNatsServer(search?: ProgramSearch): string {
  return findProgram(
    {
      name: 'nats-server',
      envVariable: 'MAYFLY_NATS_SERVER',
      debianPackage: 'nats-server',
      hints: {
        darwin: 'Get it with: brew install nats-server.',
        linux:
          'Get it from your package manager (Debian and Ubuntu: sudo apt-get install nats-server) or from https://github.com/nats-io/nats-server/releases.',
        win32:
          'Get it with: winget install NATSAuthors.NATSServer, or from https://github.com/nats-io/nats-server/releases.',
      },
    },
    search,
  );
}

/**
 * `psql`, from MAYFLY_PSQL, the PATH or the system's package.
 * @throws ProgramMissing
 */
export function findPsql(search?: ProgramSearch): string {
  return findProgram(
    {
      name: 'psql',
      envVariable: 'MAYFLY_PSQL',
      debianPackage: 'postgresql-client',
      hints: {
        darwin: 'Get it with: brew install libpq.',
        linux:
          'Get it from your package manager (Debian and Ubuntu: sudo apt-get install postgresql-client).',
        win32: 'Get it from https://www.postgresql.org/download/windows/.',
      },
    },
    search,
  );
}
