/**
 * A connection to Postgres on which nothing that somebody has set there changes what a verification reads: not a search path, a time
 * zone, a policy for rows or a planner's switch. Every name of ours is qualified; all others are `pg_catalog`'s.
 */
import pg from 'pg';

/** Set first thing, over whatever the server, the database or the role says. */
const pinned = {
  // The schema of temporary tables would otherwise come first.
  search_path: 'pg_catalog, pg_temp',
  default_transaction_read_only: 'on',
  // A policy that would hide a row is an error instead.
  row_security: 'off',
  TimeZone: 'UTC',
  DateStyle: 'ISO, YMD',
  client_encoding: 'UTF8',
  bytea_output: 'hex',
  quote_all_identifiers: 'off',
  transform_null_equals: 'off',
  standard_conforming_strings: 'on',
  constraint_exclusion: 'partition',
  enable_partition_pruning: 'on',
  // One connection's worth of the server, and no more.
  max_parallel_workers_per_gather: '0',
  jit: 'off',
} as const;

export interface LogSessionSettings {
  readonly connectionString: string;
  /** Shown in `pg_stat_activity`. */
  readonly applicationName: string;
  /** Most time for one statement; reading the log whole through an index takes the longest. Milliseconds. */
  readonly statementTimeoutMs: number;
}

/** Values come as Postgres prints them: what a driver makes of them loses digits. */
const asText = { getTypeParser: () => (text: unknown) => text } as unknown as pg.CustomTypesConfig;

export type TextRow<Column extends string> = Readonly<Record<Column, string | null>>;

export class LogSession {
  private constructor(private readonly client: pg.Client) {}

  /** Connects. Throws the driver's error, which may name host and role, and no password. */
  static async open(settings: LogSessionSettings): Promise<LogSession> {
    const client = new pg.Client({
      connectionString: settings.connectionString,
      application_name: settings.applicationName,
      connectionTimeoutMillis: 10_000,
      query_timeout: settings.statementTimeoutMs + 5_000,
      types: asText,
      keepAlive: true,
    });
    // A lost connection shows as the error of the statement under way, or of the next one.
    client.on('error', () => undefined);
    await client.connect();
    const session = new LogSession(client);
    try {
      const settled = { ...pinned, statement_timeout: String(settings.statementTimeoutMs) };
      for (const [name, value] of Object.entries(settled)) {
        await client.query(`SELECT pg_catalog.set_config($1::pg_catalog.text, $2::pg_catalog.text, false)`, [
          name,
          value,
        ]);
      }
      return session;
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  /** Rows with every value as text. */
  async rows<Column extends string>(
    text: string,
    values: readonly unknown[] = [],
  ): Promise<TextRow<Column>[]> {
    const { rows } = await this.client.query<TextRow<Column>>({ text, values: [...values], types: asText });
    return rows;
  }

  /** `fn` within a transaction that sees one moment, reads alone, and leaves no setting behind. */
  async atOneMoment<T>(fn: () => Promise<T>): Promise<T> {
    await this.client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    try {
      return await fn();
    } finally {
      await this.client.query('ROLLBACK');
    }
  }

  async close(): Promise<void> {
    await this.client.end().catch(() => undefined);
  }
}
