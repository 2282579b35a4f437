/** Wiring of minting: keys, providers, use cases, handlers. */
import { Inject, Module, type DynamicModule, type OnApplicationShutdown } from '@nestjs/common';
import { CircuitBreakers } from '@mayfly/domain';
import { PeerBreaker } from '@mayfly/messaging';
import type { ServiceHost } from '@mayfly/service';
import { openBreakers, ungrantedTables } from '@mayfly/telemetry';
import {
  HandleBox,
  loadSealingKey,
  loadSigningKeys,
  loadVerificationKeys,
  tokenKinds,
  TokenVerifier,
} from '@mayfly/tokens';
import { EndAtProvider } from './end/end-at-provider.ts';
import { EndHandler } from './end/end.handler.ts';
import { IssueLease } from './issue/issue-lease.ts';
import { IssueHandler } from './issue/issue.handler.ts';
import { Withdrawals } from './issue/withdrawals.ts';
import { Admission } from './providers/admission.ts';
import type { Provider } from './providers/provider.ts';
import { ProviderRunner } from './providers/provider-runner.ts';
import { createProviders } from './providers/registry.ts';
import { ConnectionReport } from './reporting/connection-report.ts';
import { UngrantedTables } from './reporting/ungranted-tables.ts';
import { RenewAtProvider } from './renew/renew-at-provider.ts';
import { RenewHandler } from './renew/renew.handler.ts';
import { SecretReader } from './secrets/secret-reader.ts';
import type { MintingSettings } from './settings.ts';
import { InspectToolToken } from './tool-tokens/inspect-tool-token.ts';
import { TOOL_TOKEN_KEYS, ToolTokensHandler } from './tool-tokens/tool-tokens.handler.ts';

const PROVIDERS = Symbol('PROVIDERS');

/** Between two mints that find out whether a revocation that was silent is back. Milliseconds. */
const revocationProbeMs = 500;

@Module({})
export class MintingModule implements OnApplicationShutdown {
  constructor(
    private readonly withdrawals: Withdrawals,
    @Inject(PROVIDERS) private readonly providers: ReadonlyMap<string, Provider>,
  ) {}

  /** Throws KeyFileError when a key file is missing, malformed or readable by others. */
  static async register(host: ServiceHost, settings: MintingSettings): Promise<DynamicModule> {
    const { client, keys, logger, publisher } = host;
    const [grantKeys, assertionKeys, toolTokenKeys, handles, sealing] = await Promise.all([
      loadVerificationKeys(keys.public.grant),
      loadVerificationKeys(keys.public.assertion),
      loadSigningKeys(keys.minting.toolToken),
      HandleBox.load(keys.minting.handle),
      loadSealingKey(keys.minting.sealing),
    ]);
    const audience = 'mayfly-minting';
    const issuer = settings.MAYFLY_TOOL_TOKEN_ISSUER;
    const ungranted = new UngrantedTables(logger);
    ungrantedTables(host.metrics, (gauge) => ungranted.collect(gauge));
    const providers = createProviders({
      postgres: {
        maxConnections: settings.MAYFLY_POSTGRES_CONNECTIONS,
        statementTimeoutMs: settings.MAYFLY_POSTGRES_STATEMENT_TIMEOUT_MS,
        connectTimeoutMs: settings.MAYFLY_POSTGRES_CONNECT_TIMEOUT_MS,
        groupFreshMs: settings.MAYFLY_POSTGRES_GROUP_FRESH_MS,
        connectionObserver: new ConnectionReport(host.metrics, logger),
        groupObserver: ungranted,
      },
      jwt: { issuer, keys: toolTokenKeys },
    });
    const secrets = new SecretReader({
      ownPaths: [settings.MAYFLY_KEYS, settings.MAYFLY_NATS_SEED_FILE].filter((path) => path !== undefined),
    });
    const runner = new ProviderRunner({
      providers,
      secrets,
      deadlineMs: settings.MAYFLY_PROVIDER_DEADLINE_MS,
    });
    const breakers = new CircuitBreakers({
      failures: settings.MAYFLY_BREAKER_FAILURES,
      openMs: settings.MAYFLY_BREAKER_OPEN_MS,
    });
    openBreakers(host.metrics, (gauge) => gauge.set(breakers.open));
    const revocation = new PeerBreaker({
      peer: 'revocation',
      failures: settings.MAYFLY_BREAKER_FAILURES,
      openMs: revocationProbeMs,
      logger,
    });
    const withdrawals = new Withdrawals({ runner, client, revocation, handles, logger });
    const admission = new Admission({
      perIntegration: settings.MAYFLY_MINTS_PER_INTEGRATION,
      queue: settings.MAYFLY_MINT_QUEUE,
      perOrganization: settings.MAYFLY_MINTS_PER_ORGANIZATION,
      waitMs: settings.MAYFLY_MINT_QUEUE_WAIT_MS,
    });
    const issueLease = new IssueLease({
      breakers,
      revocation,
      grants: new TokenVerifier(tokenKinds.grant, grantKeys, { audience }),
      publisher,
      client,
      handles,
      runner,
      admission,
      withdrawals,
    });
    const renewAtProvider = new RenewAtProvider({
      grants: new TokenVerifier(tokenKinds.renewal, grantKeys, { audience }),
      handles,
      admission,
      breakers,
      runner,
    });
    const endAtProvider = new EndAtProvider({
      handles,
      orders: new TokenVerifier(tokenKinds.reconcileOrder, grantKeys),
      sweeps: new TokenVerifier(tokenKinds.sweepOrder, grantKeys),
      runner,
    });
    const inspectToolToken = new InspectToolToken({
      assertions: new TokenVerifier(tokenKinds.assertion, assertionKeys, { audience }),
      sealing,
      keys: toolTokenKeys,
      issuer,
    });
    return {
      module: MintingModule,
      controllers: [IssueHandler, RenewHandler, EndHandler, ToolTokensHandler],
      providers: [
        { provide: IssueLease, useValue: issueLease },
        { provide: RenewAtProvider, useValue: renewAtProvider },
        { provide: EndAtProvider, useValue: endAtProvider },
        { provide: InspectToolToken, useValue: inspectToolToken },
        { provide: TOOL_TOKEN_KEYS, useValue: toolTokenKeys },
        { provide: Withdrawals, useValue: withdrawals },
        { provide: PROVIDERS, useValue: providers },
      ],
    };
  }

  /** The handlers have stopped; what they left to be cleaned up is finished before the connections go. */
  async onApplicationShutdown(): Promise<void> {
    await this.withdrawals.settle();
    await Promise.allSettled(
      [...this.providers.values()].map((provider) => provider.close?.() ?? Promise.resolve()),
    );
  }
}
