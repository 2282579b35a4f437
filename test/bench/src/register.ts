/** The lease register as a benchmark sees it: counts, times moved, and rows made up to fill the table. */
import { waitUntil, type DevelopmentStack } from '@mayfly/stack';
import pg from 'pg';

export class Register {
  private constructor(private readonly client: pg.Client) {}

  static async open(stack: DevelopmentStack): Promise<Register> {
    const client = new pg.Client({ connectionString: stack.postgres.databaseUrl });
    await client.connect();
    return new Register(client);
  }

  close(): Promise<void> {
    return this.client.end();
  }

  /** How many leases have not ended. */
  async live(): Promise<number> {
    const { rows } = await this.client.query<{ n: string }>(
      'SELECT count(*) AS n FROM revocation.leases WHERE ended_at IS NULL',
    );
    return Number(rows[0]?.n);
  }

  /** Makes every live lease due now, as if its time had come. */
  async makeAllDue(): Promise<void> {
    await this.client
      .query(`UPDATE revocation.leases SET due_at = clock_timestamp(), expires_at = clock_timestamp()
                              WHERE state = 'active'`);
  }

  /** Milliseconds until all leases have ended. */
  async untilAllEnded(): Promise<number> {
    const started = performance.now();
    await waitUntil('ending all leases', async () => (await this.live()) === 0, {
      deadlineMs: 600_000,
      intervalMs: 200,
    });
    return performance.now() - started;
  }

  /**
   * Fills the table with copies of one live lease: so many `live`, due in an hour, so many ended. They have no role upstream.
   */
  async fill({ live, ended }: { readonly live: number; readonly ended: number }): Promise<void> {
    const { rows } = await this.client.query<{ column_name: string }>(
      `SELECT column_name FROM information_schema.columns
        WHERE table_schema = 'revocation' AND table_name = 'leases' AND is_generated = 'NEVER'`,
    );
    const columns = rows.map(({ column_name }) => pg.escapeIdentifier(column_name));
    const made = columns.map((column) => (column === '"lease_id"' ? 'gen_random_uuid()' : column));
    await this.client.query(
      `SET session_replication_role = replica;
       CREATE TEMP TABLE template AS SELECT * FROM revocation.leases WHERE state = 'active' LIMIT 1;
       UPDATE template SET due_at = clock_timestamp() + interval '1 hour', expires_at = clock_timestamp() + interval '1 hour'`,
    );
    const copy = (count: number) =>
      this.client.query(
        `INSERT INTO revocation.leases (${columns.join(', ')})
         SELECT ${made.join(', ')} FROM template, generate_series(1, $1::int)`,
        [count],
      );
    await copy(live);
    await this.client.query(
      `UPDATE template SET state = 'expired', ended_at = clock_timestamp(), end_cause = 'expired', due_at = NULL, handle = NULL`,
    );
    await copy(ended);
    await this.client.query('DROP TABLE template; RESET session_replication_role');
    await this.client.query('VACUUM (ANALYZE) revocation.leases');
  }
}
