/** What runs beside the calls, from the start of the application to its end. */
import type { OnApplicationBootstrap, OnApplicationShutdown } from '@nestjs/common';
import type { OutboxRelay } from '@mayfly/messaging';
import type { BackgroundLoop } from '@mayfly/service';
import type { Pool } from 'pg';

export class Background implements OnApplicationBootstrap, OnApplicationShutdown {
  constructor(
    private readonly loops: readonly (BackgroundLoop | OutboxRelay)[],
    private readonly pool: Pool,
  ) {}

  onApplicationBootstrap(): void {
    for (const loop of this.loops) loop.start();
  }

  /** After the last call has been answered. The pool goes last: loops may be in the middle of a transaction. */
  async onApplicationShutdown(): Promise<void> {
    await Promise.all(this.loops.map((loop) => loop.stop()));
    await this.pool.end();
  }
}
