/** Wiring of the audit service. */
import { join } from 'node:path';
import {
  Module,
  type DynamicModule,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
} from '@nestjs/common';
import { createPool, migrate } from '@mayfly/postgres';
import { BackgroundLoop, type ServiceHost } from '@mayfly/service';
import {
  loadSigningKeys,
  loadVerificationKeys,
  tokenKinds,
  TokenSigner,
  TokenVerifier,
} from '@mayfly/tokens';
import type { Pool } from 'pg';
import { CheckpointFile } from './checkpoints/checkpoint-file.ts';
import { MakeCheckpoint } from './checkpoints/make-checkpoint.ts';
import { LogHandler } from './log/log.handler.ts';
import { WriteEvents } from './log/write-events.ts';
import { QueriesHandler } from './queries/queries.handler.ts';
import { ReadLog } from './queries/read-log.ts';
import type { AuditSettings } from './settings.ts';
import { prepareMonths } from './store/partitions.ts';
import { VerificationRecord } from './verification/verification-record.ts';
import { VerifyOnSchedule } from './verification/verify-on-schedule.ts';

export const migrationsDirectory = join(import.meta.dirname, '..', 'migrations');

/** A batch is at most 1,000 rows; a burst must not be cut off by an impatient timeout. */
const statementTimeoutMs = 20_000;

/**
 * A replica that is paused, or whose machine is gone, keeps the end of the chain from the others for so long. Between the statements
 * of a transaction nothing is done but hashing. Milliseconds.
 */
const idleInTransactionMs = 5_000;
const partitionsMs = 6 * 3_600_000;

/** The longest pause that a timer of Node takes; the schedule says how long it really is. */
const verificationPauseMs = 2 ** 31 - 1;

@Module({})
export class AuditModule {
  static async register(host: ServiceHost, settings: AuditSettings): Promise<DynamicModule> {
    const pool = await openDatabase(host, settings);
    const assertionKeys = await loadVerificationKeys(host.keys.public.assertion);
    const signer = new TokenSigner(tokenKinds.checkpoint, await loadSigningKeys(host.keys.audit.checkpoint));
    const makeCheckpoint = new MakeCheckpoint(
      pool,
      signer,
      new CheckpointFile(settings.MAYFLY_CHECKPOINT_FILE),
    );
    return {
      module: AuditModule,
      controllers: [LogHandler, QueriesHandler],
      providers: [
        { provide: WriteEvents, useValue: new WriteEvents(pool) },
        {
          provide: ReadLog,
          useValue: new ReadLog(
            pool,
            new TokenVerifier(tokenKinds.assertion, assertionKeys, { audience: 'mayfly-audit' }),
          ),
        },
        {
          provide: Background,
          useValue: new Background(host, settings, pool, makeCheckpoint, await scheduleOf(host, settings)),
        },
      ],
    };
  }
}

async function openDatabase(
  { logger, addReadinessCheck }: ServiceHost,
  settings: AuditSettings,
): Promise<Pool> {
  const connectionString = settings.MAYFLY_POSTGRES_URL.reveal();
  await migrate({ connectionString, schema: 'audit', directory: migrationsDirectory });
  const pool = createPool({
    connectionString,
    applicationName: 'mayfly-audit',
    max: settings.MAYFLY_POSTGRES_POOL,
    statementTimeoutMs,
    idleInTransactionMs,
    connectionTimeoutMs: 5_000,
    onIdleError: (error) => logger.warn({ err: error }, 'an idle connection to Postgres was lost'),
  });
  await prepareMonths(pool);
  addReadinessCheck('postgres', () => pool.query('SELECT').then(() => true));
  return pool;
}

/** Undefined when the settings switch it off. */
async function scheduleOf(
  { keys, logger, metrics }: ServiceHost,
  settings: AuditSettings,
): Promise<VerifyOnSchedule | undefined> {
  const checkpointFile = settings.MAYFLY_CHECKPOINT_FILE;
  const intervalMs = settings.MAYFLY_AUDIT_VERIFY_INTERVAL;
  if (intervalMs === 0) return undefined;
  return new VerifyOnSchedule({
    connectionString: settings.MAYFLY_POSTGRES_URL.reveal(),
    checkpointFile,
    verifier: new TokenVerifier(tokenKinds.checkpoint, await loadVerificationKeys(keys.public.checkpoint)),
    record: new VerificationRecord(`${checkpointFile}.verified`),
    logger,
    metrics,
    intervalMs,
    fullIntervalMs: settings.MAYFLY_AUDIT_VERIFY_FULL_INTERVAL,
  });
}

/** What runs beside the streams: checkpoints, partitions and the verification. */
class Background implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #loops: readonly BackgroundLoop[];

  constructor(
    { logger }: ServiceHost,
    settings: AuditSettings,
    private readonly pool: Pool,
    private readonly makeCheckpoint: MakeCheckpoint,
    private readonly schedule: VerifyOnSchedule | undefined,
  ) {
    const loop = (name: string, intervalMs: number, work: () => Promise<number | void>) =>
      new BackgroundLoop({ name, intervalMs, logger, pass: async () => (await work()) ?? undefined });
    this.#loops = [
      loop('checkpoints', settings.MAYFLY_CHECKPOINT_MS, () => makeCheckpoint.execute(new Date())),
      loop('partitions', partitionsMs, () => prepareMonths(pool)),
      ...(schedule === undefined ? [] : [loop('verification', verificationPauseMs, () => schedule.pass())]),
    ];
  }

  onApplicationBootstrap(): void {
    for (const loop of this.#loops) loop.start();
  }

  /** The last checkpoint covers what came since the one before; then the pool goes. */
  async onApplicationShutdown(): Promise<void> {
    await Promise.all([this.schedule?.stop(), ...this.#loops.map((loop) => loop.stop())]);
    await this.makeCheckpoint.execute(new Date()).catch(() => undefined);
    await this.pool.end();
  }
}
