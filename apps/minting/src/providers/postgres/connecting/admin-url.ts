/** The admin URL of an integration, as a typed description or as a refusal for whoever operates Mayfly. */
import { userInfo } from 'node:os';
import { parseConnectionUrl, type PostgresConnection } from '@mayfly/domain';
import { ProviderRejected } from '../../provider-error.ts';

/** A connection whose user and database are known. */
export type AdminConnection = PostgresConnection & Required<Pick<PostgresConnection, 'user' | 'database'>>;

/** Throws ProviderRejected, with a sentence that quotes nothing of the URL. `what` it is begins the sentence. */
export function adminConnection(url: string, what = "the integration's admin URL"): AdminConnection {
  const parsed = parseConnectionUrl(url);
  if (parsed.outcome === 'refused') throw new ProviderRejected(`${what} is refused: ${parsed.reason}`);
  const user = parsed.connection.user ?? systemUser(what);
  return { ...parsed.connection, user, database: parsed.connection.database ?? user };
}

/** As libpq: good for a socket whose server asks the operating system who is there. */
function systemUser(what: string): string {
  try {
    return userInfo().username;
  } catch {
    // A container's user may have a number only.
    throw new ProviderRejected(`${what} names no user`);
  }
}
