/** The parts of the lease register, put together. What Nest and the process add is in `revocation.module.ts`. */
import type { AssertionClaims, GrantClaims, RenewalClaims } from '@mayfly/contracts';
import type { BusClient, EventPublisher } from '@mayfly/messaging';
import { BackgroundLoop } from '@mayfly/service';
import type { Logger } from '@mayfly/telemetry';
import type { TokenVerifier } from '@mayfly/tokens';
import type { Pool } from 'pg';
import { Activations, type Nudgeable } from './activation/activate.ts';
import { Askers } from './asking/asker.ts';
import { Attendance } from './attendance/attendance.ts';
import { AskedEnds } from './ends/asked-ends.ts';
import { Claims } from './ends/claims.ts';
import { Cleaner } from './ends/cleaner.ts';
import { DueLeases } from './ends/due-leases.ts';
import { Ender } from './ends/ender.ts';
import { ProviderSlots } from './ends/provider-slots.ts';
import { Reconciler } from './ends/reconciler.ts';
import { Presence } from './replicas/presence.ts';
import { Intents } from './intents/intents.ts';
import { Leases } from './leases/leases.ts';
import { RevocationGatherer } from './revocations/gatherer.ts';
import { Orders } from './revocations/orders.ts';
import { Revocations } from './revocations/revocations.ts';
import { Upstreams } from './ends/upstreams.ts';
import { Renewals } from './renewals/renewals.ts';
import { Sweeper } from './sweeps/sweeper.ts';
import type { RevocationSettings } from './settings.ts';
import { pruneFences, pruneLeases } from './store/retention.ts';

export interface RegisterParts {
  readonly pool: Pool;
  readonly client: Pick<BusClient, 'call'>;
  readonly publisher: Pick<EventPublisher, 'signal'>;
  readonly relay: Nudgeable;
  readonly logger: Pick<Logger, 'debug' | 'warn' | 'error'>;
  readonly grants: TokenVerifier<GrantClaims>;
  readonly renewalGrants: TokenVerifier<RenewalClaims>;
  readonly assertions: TokenVerifier<AssertionClaims>;
  readonly onFailure: (provider: string) => void;
  readonly onFound: (provider: string, found: 'stray' | 'vanished') => void;
  readonly settings: Omit<
    RevocationSettings,
    | 'MAYFLY_POSTGRES_URL'
    | 'MAYFLY_KEYS'
    | 'MAYFLY_NATS_URL'
    | 'MAYFLY_SERVICE_PORT'
    | 'MAYFLY_BIND'
    | 'MAYFLY_LOG_LEVEL'
  >;
}

const pruneEveryMs = 60_000;

/** Most rows that one statement forgets, and the pause when there are more, in milliseconds: nobody waits behind it. */
const prunedAtOnce = 1_000;
const pruneAgainMs = 200;

const secondsOfDay = 86_400;

/** How long a stopping replica waits for the ends it has begun; what is left is then anyone's. Milliseconds. */
const stopGraceMs = 10_000;

export class Register {
  readonly activations: Activations;
  readonly intents: Intents;
  readonly ends: AskedEnds;
  readonly revocations: Revocations;
  readonly orders: Orders;
  readonly gatherer: RevocationGatherer;
  readonly leases: Leases;
  readonly renewals: Renewals;
  readonly due: DueLeases;
  readonly upstreams: Upstreams;
  readonly sweeper: Sweeper;
  readonly attendance: Attendance;
  readonly presence: Presence;
  readonly #claims = new Claims();
  readonly #pruning: BackgroundLoop;

  constructor(parts: RegisterParts) {
    const { pool, client, publisher, relay, logger, grants, assertions, onFailure, onFound, settings } =
      parts;
    const limits = {
      overall: settings.MAYFLY_END_CONCURRENCY,
      perIntegration: settings.MAYFLY_END_CONCURRENCY_PER_INTEGRATION,
      perSecond: settings.MAYFLY_END_RATE_PER_INTEGRATION,
    };
    const slots = new ProviderSlots(limits);
    const cleanUpSlots = new ProviderSlots({
      ...limits,
      overall: settings.MAYFLY_CLEANUP_CONCURRENCY,
      perIntegration: settings.MAYFLY_CLEANUP_CONCURRENCY_PER_INTEGRATION,
    });
    this.presence = new Presence({
      pool,
      claims: this.#claims,
      silentMs: settings.MAYFLY_REPLICA_SILENT_MS,
      logger,
      onFreed: () => this.due.nudge(),
    });
    this.upstreams = new Upstreams({
      pool,
      logger,
      breakerFailures: settings.MAYFLY_BREAKER_FAILURES,
      breakerOpenMs: settings.MAYFLY_BREAKER_OPEN_MS,
      attemptMs: settings.MAYFLY_END_ATTEMPT_MS,
      due: () => this.due,
    });
    const atProviders = {
      pool,
      client,
      slots,
      claims: this.#claims,
      relay,
      logger,
      backoff: { firstMs: settings.MAYFLY_RETRY_FIRST_MS, longestMs: settings.MAYFLY_RETRY_LONGEST_MS },
      upstreams: this.upstreams,
      loudAfter: settings.MAYFLY_LOUD_AFTER,
      onFailure,
    };
    const ender = new Ender(atProviders);
    const reconciler = new Reconciler(atProviders);
    const cleaner = new Cleaner({ ...atProviders, slots: cleanUpSlots });
    const askers = new Askers(assertions);
    this.due = new DueLeases({
      pool,
      slots,
      cleanUpSlots,
      perIntegration: limits.perIntegration,
      ender,
      reconciler,
      cleaner,
      upstreams: this.upstreams,
      logger,
      presence: this.presence,
      pollMs: settings.MAYFLY_DUE_POLL_MS,
    });
    this.sweeper = new Sweeper({
      pool,
      client,
      slots,
      upstreams: this.upstreams,
      relay,
      due: this.due,
      logger,
      everyMs: settings.MAYFLY_SWEEP_MS,
      graceMs: settings.MAYFLY_SWEEP_GRACE_MS,
      onFound,
    });
    this.attendance = new Attendance({ pool, client, logger, everyMs: settings.MAYFLY_ATTENDANCE_MS });
    this.activations = new Activations({
      pool,
      grants,
      fenceToleranceMs: settings.MAYFLY_FENCE_TOLERANCE_MS,
      relay,
      due: this.due,
    });
    this.intents = new Intents(pool, settings.MAYFLY_ORPHAN_AFTER_MS);
    this.ends = new AskedEnds({
      pool,
      askers,
      ender,
      due: this.due,
      logger,
      presence: this.presence,
      answerMs: settings.MAYFLY_END_ANSWER_MS,
    });
    this.gatherer = new RevocationGatherer({
      pool,
      relay,
      due: this.due,
      logger,
      pollMs: settings.MAYFLY_DUE_POLL_MS,
      keepSeconds: settings.MAYFLY_REVOCATION_KEEP_DAYS * 86_400,
    });
    this.revocations = new Revocations({
      pool,
      askers,
      gatherer: this.gatherer,
      relay,
      logger,
      answerMs: settings.MAYFLY_END_ANSWER_MS,
    });
    this.orders = new Orders({ pool, gatherer: this.gatherer, relay });
    this.leases = new Leases({ pool, askers, publisher });
    this.renewals = new Renewals({
      pool,
      client,
      grants: parts.renewalGrants,
      relay,
      logger,
      fenceToleranceMs: settings.MAYFLY_FENCE_TOLERANCE_MS,
    });
    this.#pruning = new BackgroundLoop({
      name: 'retention',
      intervalMs: pruneEveryMs,
      logger,
      pass: async () => {
        const fences = await pruneFences(pool, settings.MAYFLY_FENCE_KEEP_SECONDS, prunedAtOnce);
        const leases = await pruneLeases(pool, settings.MAYFLY_LEASE_KEEP_DAYS * secondsOfDay, prunedAtOnce);
        return Math.max(fences, leases) < prunedAtOnce ? undefined : pruneAgainMs;
      },
    });
  }

  start(): void {
    this.presence.start();
    this.sweeper.start();
    this.attendance.start();
    this.due.start();
    this.gatherer.start();
    this.#pruning.start();
  }

  async stop(): Promise<void> {
    await Promise.all([
      this.sweeper.stop(),
      this.attendance.stop(),
      this.due.stop(),
      this.gatherer.stop(),
      this.#pruning.stop(),
    ]);
    // After the handlers and the loop: nothing new comes. Those that somebody asked for are among them.
    await this.#claims.finish(stopGraceMs);
    await this.presence.stop();
  }
}
