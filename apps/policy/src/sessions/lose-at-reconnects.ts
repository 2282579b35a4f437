/** What a broken connection does to hearing. */
import type { ServiceHost } from '@mayfly/service';
import type { Hearing } from './hearing.ts';

/**
 * Between two sweeps a connection may break and come back, and what was sent meanwhile was not heard; a server that hung was
 * given up only after seconds of silence. Resolves when the connection is closed.
 */
export async function loseAtReconnects(
  connection: Pick<ServiceHost['connection'], 'status'>,
  hearing: Pick<Hearing, 'isLost'>,
): Promise<void> {
  for await (const { type } of connection.status()) {
    if (type === 'disconnect' || type === 'reconnect') hearing.isLost(performance.now());
  }
}
