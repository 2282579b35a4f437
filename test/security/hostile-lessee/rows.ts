/** Rows of what the driver answers with, which is a list where a text holds several statements. */
import pg from 'pg';

export type Row = Readonly<Record<string, unknown>>;

/** The rows of a text's last statement. */
export function lastRows(result: unknown): readonly Row[] {
  return ([result].flat().at(-1) as pg.QueryResult<Row> | undefined)?.rows ?? [];
}

/** Runs texts one after another on a connection of their own; the rows of the last. */
export async function runOnce(to: pg.ClientConfig, ...texts: string[]): Promise<readonly Row[]> {
  const client = new pg.Client(to);
  client.on('error', () => undefined);
  await client.connect();
  try {
    let rows: readonly Row[] = [];
    for (const text of texts) rows = lastRows(await client.query(text));
    return rows;
  } finally {
    await client.end();
  }
}

/**
 * How to connect, in parts: what the driver makes of a database's name in a URL is not always that name. Default: the URL's own
 * database.
 */
export function connectionTo(url: string, database?: string): pg.ClientConfig {
  const { hostname, port, username, password, pathname } = new URL(url);
  return {
    host: hostname,
    port: Number(port),
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
    database: database ?? decodeURIComponent(pathname.slice(1)),
  };
}
