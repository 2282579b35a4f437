/** Wiring of the policy service: keys, database, use cases, loops. */
import { fileURLToPath } from 'node:url';
import { Module, type DynamicModule, type Provider } from '@nestjs/common';
import type { AssertionClaims } from '@mayfly/contracts';
import { isConnected, OutboxRelay } from '@mayfly/messaging';
import { createPool, migrate } from '@mayfly/postgres';
import { BackgroundLoop, failpoint, type ServiceHost } from '@mayfly/service';
import { configRecovered, outboxPending } from '@mayfly/telemetry';
import {
  IdentityVerifier,
  loadSealingKey,
  loadSigningKeys,
  TokenSigner,
  TokenVerifier,
  tokenKinds,
} from '@mayfly/tokens';
import type { Pool } from 'pg';
import { AuthorizationHandler } from './authorization/authorization.handler.ts';
import { Authorize } from './authorization/authorize.ts';
import { Background } from './background.ts';
import { Blocks } from './blocks/blocks.ts';
import { BlocksHandler } from './blocks/blocks.handler.ts';
import { ApplyConfig } from './configuration/apply-config.ts';
import { ConfigurationHandler } from './configuration/configuration.handler.ts';
import { loadFirstDocument } from './configuration/first-document.ts';
import { GetConfig } from './configuration/get-config.ts';
import { KnownSubjects } from './configuration/known-subjects.ts';
import { ListConfigVersions } from './configuration/list-config-versions.ts';
import { OrderReconciliation } from './configuration/order-reconciliation.ts';
import { OrderSweeps } from './configuration/order-sweeps.ts';
import { Recoveries } from './configuration/recoveries.ts';
import { RunningConfiguration } from './configuration/running-configuration.ts';
import { Decide } from './decisions/decide.ts';
import { DecisionsHandler } from './decisions/decisions.handler.ts';
import { LeaseEventsHandler } from './decisions/lease-events.handler.ts';
import { LeaseRegister } from './decisions/lease-register.ts';
import { ListCredentials } from './decisions/list-credentials.ts';
import { LostCleanUps } from './decisions/lost-clean-ups.ts';
import { LostEnds } from './decisions/lost-ends.ts';
import { ReleaseReservation } from './decisions/release-reservation.ts';
import { Renew } from './decisions/renew.ts';
import { SignalReporter } from './reporting/events.ts';
import { AdministerSessions } from './sessions/administer-sessions.ts';
import { EndSession } from './sessions/end-session.ts';
import { Hearing } from './sessions/hearing.ts';
import { loseAtReconnects } from './sessions/lose-at-reconnects.ts';
import { SessionGate } from './sessions/session-gate.ts';
import { SessionLeases } from './sessions/session-leases.ts';
import { SessionsHandler } from './sessions/sessions.handler.ts';
import { Sweeper } from './sessions/sweeper.ts';
import { installationId } from './store/installation.ts';
import type { PolicySettings } from './settings.ts';
import { ExchangeToken } from './trust/exchange-token.ts';

/** What the module needs of its host; tests give the same. */
export type PolicyHost = Pick<
  ServiceHost,
  'logger' | 'metrics' | 'connection' | 'publisher' | 'client' | 'keys' | 'addReadinessCheck'
>;
export type PolicyModuleSettings = Pick<
  PolicySettings,
  | 'MAYFLY_POSTGRES_URL'
  | 'MAYFLY_POSTGRES_POOL'
  | 'MAYFLY_CONFIG'
  | 'MAYFLY_CONFIG_POLL_MS'
  | 'MAYFLY_RESERVATION_HOLD_SECONDS'
  | 'MAYFLY_RESERVATION_CHECK_MS'
  | 'MAYFLY_FAILING_CLEANUPS_PER_ORCHESTRATION'
  | 'MAYFLY_SESSION_SWEEP_MS'
>;

/** How late a sweep may come for what it sees to count as uninterrupted: half of the shortest heartbeat. Milliseconds. */
const latestSweepMs = 5_000;

const migrationsDirectory = fileURLToPath(new URL('../migrations', import.meta.url));

@Module({})
export class PolicyModule {
  static async register(host: PolicyHost, settings: PolicyModuleSettings): Promise<DynamicModule> {
    const { logger } = host;
    const keys = await loadKeys(host);
    const pool = await openDatabase(host, settings);
    const running = new RunningConfiguration(pool, logger);
    if (settings.MAYFLY_CONFIG !== undefined) await loadFirstDocument(pool, settings.MAYFLY_CONFIG, logger);
    await running.refresh();
    if (!running.isLoaded()) {
      logger.error(
        {},
        'no usable configuration: not ready until one is applied; MAYFLY_CONFIG names the first',
      );
    }
    host.addReadinessCheck('postgres', async () => (await pool.query('SELECT 1')).rowCount === 1);
    host.addReadinessCheck('configuration', () => Promise.resolve(running.isLoaded()));

    const pending = outboxPending(host.metrics);
    const relay = new OutboxRelay({
      pool,
      schema: 'policy',
      publisher: host.publisher,
      logger,
      onPending: (count) => pending.set(count),
      onStep: (step) => failpoint(`policy.relay.${step}`),
    });
    const hearing = new Hearing(performance.now(), settings.MAYFLY_SESSION_SWEEP_MS + latestSweepMs);
    loseAtReconnects(host.connection, hearing);
    const assertions = new TokenSigner(tokenKinds.assertion, keys.assertion);
    const leases = new SessionLeases({ client: host.client, assertions, logger });
    const sweeper = new Sweeper({
      pool,
      hearing,
      isConnected: () => isConnected(host.connection),
      leases,
    });
    const recoveries = new Recoveries({ pool, running, gauge: configRecovered(host.metrics), logger });
    const lost = { client: host.client, pool, everyMs: settings.MAYFLY_RESERVATION_CHECK_MS };
    const lostEnds = new LostEnds(lost);
    const lostCleanUps = new LostCleanUps(lost);
    const loops = [
      relay,
      new BackgroundLoop({
        name: 'configuration versions',
        intervalMs: settings.MAYFLY_CONFIG_POLL_MS,
        pass: async () => {
          await running.refresh();
          await recoveries.look();
        },
        logger,
      }),
      new BackgroundLoop({
        name: 'session sweep',
        intervalMs: settings.MAYFLY_SESSION_SWEEP_MS,
        pass: async () => {
          const more = await sweeper.sweep();
          relay.nudge();
          return more ? 0 : undefined;
        },
        logger,
      }),
      new BackgroundLoop({
        name: 'ends that no event told',
        intervalMs: settings.MAYFLY_RESERVATION_CHECK_MS,
        pass: async () => ((await lostEnds.find()) ? 0 : undefined),
        logger,
      }),
      new BackgroundLoop({
        name: 'clean-ups that no event told',
        intervalMs: settings.MAYFLY_RESERVATION_CHECK_MS,
        pass: async () => ((await lostCleanUps.find()) ? 0 : undefined),
        logger,
      }),
    ];
    const providers: Provider[] = [
      { provide: Background, useValue: new Background(loops, pool) },
      { provide: Hearing, useValue: hearing },
      { provide: Sweeper, useValue: sweeper },
      { provide: LostEnds, useValue: lostEnds },
      { provide: LostCleanUps, useValue: lostCleanUps },
      ...useCases({
        host,
        settings,
        keys,
        assertions,
        hearing,
        pool,
        running,
        relay,
        leases,
        installation: await installationId(pool),
      }),
    ];
    return {
      module: PolicyModule,
      controllers: [
        SessionsHandler,
        DecisionsHandler,
        LeaseEventsHandler,
        AuthorizationHandler,
        BlocksHandler,
        ConfigurationHandler,
      ],
      providers,
    };
  }
}

async function loadKeys({ keys }: PolicyHost) {
  const [sessionToken, grant, assertion, sealing] = await Promise.all([
    loadSigningKeys(keys.policy.sessionToken),
    loadSigningKeys(keys.policy.grant),
    loadSigningKeys(keys.policy.assertion),
    loadSealingKey(keys.policy.sealing),
  ]);
  return { sessionToken, grant, assertion, sealing };
}

async function openDatabase({ logger }: PolicyHost, settings: PolicyModuleSettings): Promise<Pool> {
  const connectionString = settings.MAYFLY_POSTGRES_URL.reveal();
  const ran = await migrate({ connectionString, schema: 'policy', directory: migrationsDirectory });
  if (ran.length > 0) logger.info({ migrations: ran }, 'the schema is up to date');
  return createPool({
    connectionString,
    applicationName: 'mayfly-policy',
    max: settings.MAYFLY_POSTGRES_POOL,
    statementTimeoutMs: 4_000,
    connectionTimeoutMs: 3_000,
    onIdleError: (error) => logger.warn({ err: error }, 'an idle connection to Postgres broke'),
  });
}

interface Parts {
  readonly host: PolicyHost;
  readonly settings: PolicyModuleSettings;
  readonly keys: Awaited<ReturnType<typeof loadKeys>>;
  readonly assertions: TokenSigner<AssertionClaims>;
  readonly hearing: Hearing;
  readonly pool: Pool;
  readonly running: RunningConfiguration;
  readonly relay: OutboxRelay;
  readonly leases: SessionLeases;
  readonly installation: string;
}

/** One key per purpose: session tokens, assertions, and grants with the orders that stand in for them. */
function useCases(parts: Parts): Provider[] {
  const { host, settings, keys, assertions, hearing, pool, running, relay, leases, installation } = parts;
  const gate = new SessionGate(
    keys.sealing,
    new TokenVerifier(tokenKinds.sessionToken, keys.sessionToken),
    pool,
    hearing,
  );
  const known = new KnownSubjects({ running, pool });
  const signals = new SignalReporter(host.publisher, host.logger);
  const signer = new TokenSigner(tokenKinds.sessionToken, keys.sessionToken);
  const grants = new TokenSigner(tokenKinds.grant, keys.grant);
  const renewals = new TokenSigner(tokenKinds.renewal, keys.grant);
  const orders = new TokenSigner(tokenKinds.reconcileOrder, keys.grant);
  const identities = new IdentityVerifier();
  const grantSeconds = tokenKinds.grant.maxAgeSeconds;
  const holdSeconds = settings.MAYFLY_RESERVATION_HOLD_SECONDS;
  const mostFailingCleanUps = settings.MAYFLY_FAILING_CLEANUPS_PER_ORCHESTRATION;
  const instances = [
    gate,
    new ExchangeToken({ gate, identities, running, signer, signals, pool, relay }),
    new EndSession({ gate, assertions, pool, relay }),
    new Decide({
      gate,
      running,
      grants,
      assertions,
      signals,
      pool,
      installation,
      grantSeconds,
      holdSeconds,
      mostFailingCleanUps,
    }),
    new ListCredentials({ gate, running }),
    new ReleaseReservation({
      grants: new TokenVerifier(tokenKinds.grant, keys.grant, { audience: 'mayfly-minting' }),
      client: host.client,
      pool,
    }),
    new Renew({
      gate,
      running,
      renewals,
      grants,
      assertions,
      signals,
      pool,
      installation,
      grantSeconds,
      holdSeconds,
      mostFailingCleanUps,
    }),
    new LeaseRegister(pool),
    new Authorize({ gate, known, assertions, signals }),
    new Blocks({ gate, known, assertions, signals, pool, relay, leases }),
    new AdministerSessions({ gate, assertions, signals, pool, relay }),
    new ApplyConfig({ gate, running, signals, pool, relay, leases, keys: identities }),
    new GetConfig({ gate, signals, pool }),
    new ListConfigVersions({ gate, signals, pool }),
    new OrderReconciliation({ running, orders }),
    new OrderSweeps({ running, orders: new TokenSigner(tokenKinds.sweepOrder, keys.grant), installation }),
  ];
  return instances.map((useValue) => ({ provide: useValue.constructor, useValue }));
}
