/** Pieces of SQL text. What comes from a scope goes in here and nowhere else: an agent may choose its names. */
import pg from 'pg';

/** An anonymous block. Its body is a quoted literal: between dollars, a name that holds the same tag would end it. */
export function doBlock(body: string): string {
  return `DO ${pg.escapeLiteral(body)}`;
}

/** An array of texts, as an SQL expression. */
export function textArray(values: readonly string[]): string {
  return `ARRAY[${values.map((value) => pg.escapeLiteral(value)).join(', ')}]::text[]`;
}
