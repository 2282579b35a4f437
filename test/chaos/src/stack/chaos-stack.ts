/** The stack under test: short timers, armed failpoints, and disks that can be filled. */
import { chmodSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serviceNames } from '@mayfly/contracts';
import {
  repositoryRoot,
  startDevelopmentStack,
  type DevelopmentStack,
  type StackOptions,
} from '@mayfly/stack';
import pg from 'pg';
import type { FailpointOrder } from './failpoint-order.ts';
import { mountSmallDisk, type SmallDisk } from './small-disk.ts';

/** How long things may take in a stack, in milliseconds. */
export interface Timers {
  /** After this an intent without activation becomes an orphan. */
  readonly orphanAfterMs: number;
  /** Longest that a named orphan may be there, from the mint or the end of the fault. */
  readonly orphanBoundMs: number;
  readonly ackWaitMs: number;
}

export const realTimers: Timers = { orphanAfterMs: 60_000, orphanBoundMs: 90_000, ackWaitMs: 30_000 };
/** A twelfth, and for what does not scale (starting, a busy machine) 10 s. */
export const shortTimers: Timers = { orphanAfterMs: 5_000, orphanBoundMs: 17_500, ackWaitMs: 3_000 };

export interface ChaosStackOptions {
  readonly timers: Timers;
  readonly smallDisks: boolean;
  /** Leave the folder with logs and data where it is. */
  readonly keep?: boolean;
  /** A module that every service loads first; see `sabotage/`. */
  readonly sabotage?: string;
}

export interface ChaosStack {
  readonly stack: DevelopmentStack;
  readonly timers: Timers;
  /** `server_version_num` of the upstream. */
  readonly serverVersion: number;
  readonly disks: { readonly nats: SmallDisk | string; readonly postgres: SmallDisk | string };
  /** Orders a failpoint; true once a process has taken the order. */
  order(order: FailpointOrder): void;
  orderTaken(): boolean;
  withdrawOrder(): void;
  stop(): Promise<void>;
}

/**
 * The server is the agents' and Mayfly's own at the same time. What agents may take of its connections leaves those free that two of
 * each service and the integration's administrator take.
 */
const connectionSettings = { max_connections: '220', reserved_connections: '130' };

/** Lets Mayfly's roles use the connections that are reserved. Returns the server's `server_version_num`. */
async function reserveConnections(adminUrl: string): Promise<number> {
  const client = new pg.Client({ connectionString: adminUrl });
  await client.connect();
  try {
    await client.query(
      'GRANT pg_use_reserved_connections TO mayfly_policy, mayfly_revocation, mayfly_audit, orders_admin',
    );
    const { rows } = await client.query<{ version: number }>(
      `SELECT current_setting('server_version_num')::int AS version`,
    );
    return rows[0]?.version ?? 0;
  } finally {
    await client.end();
  }
}

export async function startChaosStack(options: ChaosStackOptions): Promise<ChaosStack> {
  const { timers, smallDisks } = options;
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-chaos-'));
  chmodSync(folder, 0o711);
  const none = 'not asked for';
  const disks = {
    nats: smallDisks ? mountSmallDisk(join(folder, 'nats'), 192) : none,
    postgres: smallDisks ? mountSmallDisk(join(folder, 'postgres'), 640) : none,
  };
  const controlFile = join(folder, 'failpoint.json');
  const removeAll = (): void => {
    if (options.keep === true) return;
    for (const disk of Object.values(disks)) if (typeof disk === 'object') disk.unmount();
    rmSync(folder, { recursive: true, force: true });
  };
  // Also when the run is broken off: what is mounted would stay.
  process.once('exit', removeAll);
  let stack: DevelopmentStack;
  let serverVersion = 0;
  try {
    stack = await startDevelopmentStack({
      dataDirectory: folder,
      gatewayPort: 0,
      log: () => undefined,
      configuration: readFileSync(join(repositoryRoot(), 'test', 'chaos', 'mayfly.yaml'), 'utf8'),
      postgresSettings: {
        // Little of the log is kept, so that the small disk is not full by itself.
        max_wal_size: '96MB',
        min_wal_size: '32MB',
        // What hostile lessees use.
        max_prepared_transactions: '32',
        ...connectionSettings,
      },
      prepare: async ({ adminUrl }) => {
        serverVersion = await reserveConnections(adminUrl);
        return {};
      },
      topology: { ackWaitMs: timers.ackWaitMs },
      env: serviceEnvironment(options, controlFile),
    });
  } catch (error) {
    removeAll();
    throw error;
  }
  return {
    stack,
    timers,
    serverVersion,
    disks,
    order: (order) => {
      rmSync(`${controlFile}.taken`, { force: true });
      writeFileSync(`${controlFile}.new`, JSON.stringify(order));
      renameSync(`${controlFile}.new`, controlFile);
    },
    orderTaken: () => existsSync(`${controlFile}.taken`),
    withdrawOrder: () => {
      rmSync(controlFile, { force: true });
    },
    stop: async () => {
      await stack.stop();
      removeAll();
    },
  };
}

function serviceEnvironment(
  { timers, sabotage }: ChaosStackOptions,
  controlFile: string,
): NonNullable<StackOptions['env']> {
  const all = {
    MAYFLY_TESTS_ONLY: 'failpoints-and-clocks',
    MAYFLY_TEST_FAILPOINTS: controlFile,
    ...(sabotage === undefined ? {} : { NODE_OPTIONS: `--import=${sabotage}` }),
  };
  const short = timers !== realTimers;
  const own: Record<string, Record<string, string>> = {
    gateway: {
      MAYFLY_SOURCE_RATE: '100000',
      MAYFLY_SOURCE_BURST: '100000',
      MAYFLY_ORGANIZATION_RATE: '100000',
      MAYFLY_ORGANIZATION_BURST: '100000',
    },
    revocation: short
      ? {
          MAYFLY_ORPHAN_AFTER_MS: String(timers.orphanAfterMs),
          MAYFLY_RETRY_FIRST_MS: '200',
          MAYFLY_RETRY_LONGEST_MS: '2000',
        }
      : {},
    minting: short
      ? {
          MAYFLY_PROVIDER_DEADLINE_MS: '5000',
          MAYFLY_POSTGRES_STATEMENT_TIMEOUT_MS: '3000',
          MAYFLY_POSTGRES_CONNECT_TIMEOUT_MS: '2000',
        }
      : {},
    audit: { MAYFLY_CHECKPOINT_MS: '1000' },
  };
  return Object.fromEntries(serviceNames.map((service) => [service, { ...all, ...own[service] }]));
}
