/**
 * Copies of a real audit log, each in a database of its own, made as an installation makes it: by the set-up's statements, then by the
 * migrations as the service's role. So each test may do whatever it likes to its own.
 */
import { join } from 'node:path';
import { connectionStringFor, ensureServiceDatabase, inDatabase, migrate } from '@mayfly/postgres';
import { repositoryRoot } from '@mayfly/stack';
import pg from 'pg';

const tables = {
  event_log: 'seq, id, time, recorded_at, event::text, hash',
  checkpoint: 'seq, hash, at, token',
  chain_head: 'seq, hash',
} as const;

const role = 'mayfly_audit';

export interface CopiedLog {
  readonly database: string;
  /** Secret URLs. */
  readonly superuserUrl: string;
  readonly auditorUrl: string;
}

export class LogCopier {
  #made = 0;
  readonly #template = 'copied_log';

  private constructor(
    private readonly adminUrl: string,
    private readonly passwords: { readonly service: string; readonly auditor: string },
  ) {}

  /** Makes the copy that all others are made of. */
  static async open(
    adminUrl: string,
    sourceUrl: string,
    auditorPassword: string,
    servicePassword: string,
  ): Promise<LogCopier> {
    const copier = new LogCopier(adminUrl, { service: servicePassword, auditor: auditorPassword });
    await copier.#setUp(copier.#template);
    const connectionString = connectionStringFor(adminUrl, {
      role,
      password: servicePassword,
      database: copier.#template,
    });
    await migrate({
      connectionString,
      schema: 'audit',
      directory: join(repositoryRoot(), 'apps', 'audit', 'migrations'),
    });
    await withClient(sourceUrl, (source) =>
      withClient(connectionString, async (target) => {
        await target.query('SELECT audit.prepare_month(now()::date)');
        await target.query('DELETE FROM audit.chain_head');
        for (const [table, columns] of Object.entries(tables)) {
          const { rows, fields } = await source.query<unknown[]>({
            text: `SELECT ${columns} FROM audit.${table}`,
            rowMode: 'array',
          });
          const names = fields.map(({ name }) => name);
          for (const row of rows) {
            const places = names.map((name, index) => `$${index + 1}${name === 'event' ? '::jsonb' : ''}`);
            await target.query(
              `INSERT INTO audit.${table} (${names.join(', ')}) VALUES (${places.join(', ')})`,
              row,
            );
          }
        }
      }),
    );
    return copier;
  }

  async copy(): Promise<CopiedLog> {
    this.#made += 1;
    const database = `${this.#template}_${this.#made}`;
    await withClient(this.adminUrl, (admin) =>
      admin.query(`CREATE DATABASE ${database} TEMPLATE ${this.#template}`),
    );
    await this.#setUp(database);
    const { auditor } = this.passwords;
    return {
      database,
      superuserUrl: inDatabase(this.adminUrl, database),
      auditorUrl: connectionStringFor(this.adminUrl, { role: 'mayfly_auditor', password: auditor, database }),
    };
  }

  #setUp(database: string): Promise<void> {
    const { service, auditor } = this.passwords;
    return ensureServiceDatabase(this.adminUrl, {
      database,
      services: [{ schema: 'audit', role, password: service }],
      auditor: { schema: 'audit', password: auditor },
    });
  }
}

export async function withClient<T>(
  connectionString: string,
  fn: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    return await fn(client);
  } finally {
    await client.end();
  }
}
