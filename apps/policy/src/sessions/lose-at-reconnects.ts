/** What a broken connection does to hearing. */
import { watch } from '@mayfly/messaging';
import type { ServiceHost } from '@mayfly/service';
import type { Hearing } from './hearing.ts';

/**
 * Between two sweeps a connection may break and come back, and what was sent meanwhile was not heard; a server that hung was
 * given up only after seconds of silence.
 */
export function loseAtReconnects(
  connection: ServiceHost['connection'],
  hearing: Pick<Hearing, 'isLost'>,
): void {
  const { onDisconnect, onReconnect } = watch(connection);
  const lose = () => hearing.isLost(performance.now());
  onDisconnect.add(lose);
  onReconnect.add(lose);
}
