/** The audit log as mayfly_auditor sees it, straight from Postgres: the verification trusts no service of Mayfly's. */
import type { FoundRow } from '@mayfly/domain';
import pg from 'pg';

const pageSize = 2_000;

interface LogRow {
  seq: string;
  id: string;
  time: Date;
  recorded_at: Date;
  event: unknown;
  hash: Buffer;
}

export class AuditLogReader {
  private constructor(private readonly client: pg.Client) {}

  /** Connects; throws the driver's error. All reads see one moment, so rows written meanwhile do not confuse. */
  static async connect(connectionString: string): Promise<AuditLogReader> {
    const client = new pg.Client({
      connectionString,
      application_name: 'mayfly audit verify',
      connectionTimeoutMillis: 10_000,
    });
    await client.connect();
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    return new AuditLogReader(client);
  }

  /** The position at which the log says that it ends. */
  async end(): Promise<number> {
    const { rows } = await this.client.query<{ seq: string }>('SELECT seq FROM audit.chain_end');
    return Number(rows[0]?.seq);
  }

  /** Rows by position. A position that is there twice comes twice. */
  async *rows(): AsyncGenerator<FoundRow> {
    let after = { seq: 0, id: '00000000-0000-0000-0000-000000000000' };
    for (;;) {
      const { rows } = await this.client.query<LogRow>({
        name: 'page',
        text: `SELECT seq::int8 AS seq, id, time, recorded_at, event, hash FROM audit.events
               WHERE (seq, id) > ($1, $2) ORDER BY seq, id LIMIT ${pageSize}`,
        values: [after.seq, after.id],
      });
      for (const row of rows) {
        yield { ...row, seq: Number(row.seq), recordedAt: row.recorded_at };
      }
      const last = rows.at(-1);
      if (last === undefined || rows.length < pageSize) return;
      after = { seq: Number(last.seq), id: last.id };
    }
  }

  /** Tokens of the checkpoints in Postgres. */
  async checkpoints(): Promise<string[]> {
    const { rows } = await this.client.query<{ token: string }>(
      'SELECT token FROM audit.checkpoints ORDER BY seq',
    );
    return rows.map(({ token }) => token);
  }

  async close(): Promise<void> {
    await this.client.end();
  }
}
