/** Which installation of Mayfly this is. */
import { rowsOf, type Database } from './statement.ts';

/** UUID, made with the schema. */
export async function installationId(database: Database): Promise<string> {
  const [row] = await rowsOf<{ id: string }>(database, {
    name: 'installation-id',
    text: 'SELECT id FROM policy.installation',
  });
  if (row === undefined) throw new Error('policy.installation has no row');
  return row.id;
}
