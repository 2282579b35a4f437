/** Wiring: schema, pool, keys, the register, its relay and metrics. */
import { join } from 'node:path';
import {
  Module,
  type DynamicModule,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
} from '@nestjs/common';
import { OutboxRelay } from '@mayfly/messaging';
import { createPool, migrate } from '@mayfly/postgres';
import { failpoint, type ServiceHost } from '@mayfly/service';
import { foundUpstream, openBreakers, outboxPending, revocationFailures } from '@mayfly/telemetry';
import { loadVerificationKeys, tokenKinds, TokenVerifier } from '@mayfly/tokens';
import type { Pool } from 'pg';
import { ActivationHandler } from './activation/activation.handler.ts';
import { Activations } from './activation/activate.ts';
import { AskedEnds } from './ends/asked-ends.ts';
import { EndsHandler } from './ends/ends.handler.ts';
import { IntentsHandler } from './intents/intents.handler.ts';
import { Intents } from './intents/intents.ts';
import { LeasesHandler } from './leases/leases.handler.ts';
import { Leases } from './leases/leases.ts';
import { RenewalsHandler } from './renewals/renewals.handler.ts';
import { Renewals } from './renewals/renewals.ts';
import { Register } from './register.ts';
import { watchRegister } from './register-metrics.ts';
import { Orders } from './revocations/orders.ts';
import { Revocations } from './revocations/revocations.ts';
import { RevocationsHandler } from './revocations/revocations.handler.ts';
import type { RevocationSettings } from './settings.ts';

export const schema = 'revocation';
export const migrationsDirectory = join(import.meta.dirname, '..', 'migrations');

const statementTimeoutMs = 10_000;

@Module({})
export class RevocationModule {
  static async register(host: ServiceHost, settings: RevocationSettings): Promise<DynamicModule> {
    const { logger, metrics, keys } = host;
    const connectionString = settings.MAYFLY_POSTGRES_URL.reveal();
    await migrate({ connectionString, schema, directory: migrationsDirectory });
    const pool = createPool({
      connectionString,
      applicationName: 'mayfly-revocation',
      // One more, which the replica keeps to be known by.
      max: settings.MAYFLY_POSTGRES_POOL + 1,
      statementTimeoutMs,
      connectionTimeoutMs: 5_000,
      onIdleError: (error) => {
        logger.warn({ err: error }, 'an idle connection to Postgres was lost');
      },
    });
    host.addReadinessCheck('postgres', () => pool.query('SELECT').then(() => true));

    const pending = outboxPending(metrics);
    const failures = revocationFailures(metrics);
    const differences = foundUpstream(metrics);
    watchRegister(metrics, logger, pool);
    const relay = new OutboxRelay({
      pool,
      schema,
      publisher: host.publisher,
      logger,
      onPending: (count) => {
        pending.set(count);
      },
      onStep: (step) => {
        failpoint(`revocation.relay.${step}`);
      },
    });
    const grantKeys = await loadVerificationKeys(keys.public.grant);
    const register = new Register({
      pool,
      client: host.client,
      publisher: host.publisher,
      relay,
      logger,
      grants: new TokenVerifier(tokenKinds.grant, grantKeys, { audience: 'mayfly-revocation' }),
      renewalGrants: new TokenVerifier(tokenKinds.renewal, grantKeys, { audience: 'mayfly-revocation' }),
      assertions: new TokenVerifier(tokenKinds.assertion, await loadVerificationKeys(keys.public.assertion), {
        audience: 'mayfly-revocation',
      }),
      onFailure: (provider) => {
        failures.inc({ provider });
      },
      onFound: (provider, found) => {
        differences.inc({ provider, found });
      },
      settings,
    });
    // Without it, this replica takes up no end. Before requests come, behind which it would wait for a connection.
    await register.presence.join();
    host.addReadinessCheck('presence', () => Promise.resolve(register.presence.isPresent));
    openBreakers(metrics, (gauge) => gauge.set(register.upstreams.open));
    return {
      module: RevocationModule,
      controllers: [
        ActivationHandler,
        EndsHandler,
        IntentsHandler,
        LeasesHandler,
        RenewalsHandler,
        RevocationsHandler,
      ],
      providers: [
        { provide: Activations, useValue: register.activations },
        { provide: Intents, useValue: register.intents },
        { provide: AskedEnds, useValue: register.ends },
        { provide: Revocations, useValue: register.revocations },
        { provide: Orders, useValue: register.orders },
        { provide: Leases, useValue: register.leases },
        { provide: Renewals, useValue: register.renewals },
        { provide: Running, useValue: new Running(register, relay, pool) },
      ],
    };
  }
}

/** Starts the loops with the application; at its end lets them finish before the connections go. */
class Running implements OnApplicationBootstrap, OnApplicationShutdown {
  constructor(
    private readonly register: Register,
    private readonly relay: OutboxRelay,
    private readonly pool: Pool,
  ) {}

  onApplicationBootstrap(): void {
    this.relay.start();
    this.register.start();
  }

  async onApplicationShutdown(): Promise<void> {
    await this.register.stop();
    await this.relay.stop();
    await this.pool.end();
  }
}
