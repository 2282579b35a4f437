/** Live leases by state, the due lag and open revocations, read at each scrape: one query for all. */
import { leaseStates } from '@mayfly/contracts';
import { hasEnded } from '@mayfly/domain';
import {
  dueLag,
  failingLeases,
  liveLeases,
  oldestOpenRevocation,
  openRevocations,
  pendingCleanUps,
  type Collect,
  type Logger,
} from '@mayfly/telemetry';
import type { Pool } from 'pg';
import { registerSize, type RegisterSize } from './store/reading.ts';

type Metrics = Parameters<typeof dueLag>[0];

/** A scrape without Postgres keeps the last values. */
export function watchRegister(metrics: Metrics, logger: Pick<Logger, 'warn'>, pool: Pool): void {
  let reading: Promise<RegisterSize | undefined> | undefined;
  // Each gauge is read as soon as its own collector is done, so each of them waits for the one query.
  const read = (): Promise<RegisterSize | undefined> =>
    (reading ??= registerSize(pool)
      .catch((error: unknown) => {
        logger.warn({ err: error }, 'the register could not be measured');
        return undefined;
      })
      .finally(() => (reading = undefined)));
  const from =
    <Labels extends string>(
      set: (gauge: Parameters<Collect<Labels>>[0], size: RegisterSize) => void,
    ): Collect<Labels> =>
    async (gauge) => {
      const size = await read();
      if (size !== undefined) set(gauge, size);
    };

  const byState = from<'state'>((gauge, size) => {
    for (const state of leaseStates) {
      if (!hasEnded(state)) gauge.set({ state }, size.byState.get(state) ?? 0);
    }
  });
  const failing = from<'work'>((gauge, size) => {
    gauge.set({ work: 'end' }, size.failing.end);
    gauge.set({ work: 'cleanup' }, size.failing.cleanup);
  });
  const pending = from((gauge, size) => gauge.set(size.pendingCleanUps));
  const lag = from((gauge, { dueLagSeconds }) => gauge.set(dueLagSeconds));
  const open = from((gauge, size) => gauge.set(size.openRevocations.count));
  const oldest = from((gauge, size) => gauge.set(size.openRevocations.oldestSeconds));
  liveLeases(metrics, byState);
  failingLeases(metrics, failing);
  pendingCleanUps(metrics, pending);
  dueLag(metrics, lag);
  openRevocations(metrics, open);
  oldestOpenRevocation(metrics, oldest);
}
