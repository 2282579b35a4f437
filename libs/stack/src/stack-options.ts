/** What `startStack` takes and gives. */
import type { ServiceName } from '@mayfly/contracts';
import type { TopologyOptions } from '@mayfly/messaging';
import type { NatsServer, OwnNats } from './nats/start-nats.ts';
import type { OwnPostgres, PostgresServer } from './postgres/start-postgres.ts';
import type { StackService } from './services/start-service.ts';
import type { DevelopmentIdentity } from './issuer/development-identities.ts';
import type { IdentityIssuer } from './issuer/development-issuer.ts';

/** The port of the gateway when it is free. */
export const DEFAULT_GATEWAY_PORT = 8470;
/** The database that the services' schemas are in. */
export const DEFAULT_DATABASE = 'mayfly';

/** How to run Mayfly on this machine. */
export interface StackOptions {
  /** Holds everything that lasts; default a folder that `stop` removes. */
  readonly dataDirectory?: string;
  /** Taken when it is free, else another; default 8470; 0 takes any. */
  readonly gatewayPort?: number;
  /** The configuration that policy applies when it has none yet. */
  readonly configFile?: string;
  /** Administrator's URL of a Postgres to use instead of an own one. */
  readonly postgresUrl?: string | undefined;
  /** Settings of the own Postgres, as with `postgres -c`. */
  readonly postgresSettings?: Readonly<Record<string, string>>;
  /** Name of Mayfly's database; default `mayfly`. */
  readonly database?: string;
  /** A NATS to use instead of an own one; it must know the users of `keys/public/nats-users.json`, or ask for none. */
  readonly natsUrl?: string | undefined;
  /** Certificate authority of that NATS, if it speaks TLS. */
  readonly natsCaFile?: string | undefined;
  /** Sizes of streams and the wait for acknowledgements, where not the defaults. */
  readonly topology?: TopologyOptions;
  /** More environment for single services. Secret references belong in `mintingSecrets`. */
  readonly env?: Partial<Readonly<Record<ServiceName, Readonly<Record<string, string>>>>>;
  /** Called when the database is up and before any service starts; what it answers is added to these options. */
  readonly prepare?: (parts: { adminUrl: string; natsUrl: string; dataDirectory: string }) => Promise<{
    readonly configFile?: string;
    readonly mintingSecrets?: Readonly<Record<string, string>>;
    /** Where the services find the bus, when not directly (tests listen in between). */
    readonly servicesNatsUrl?: string;
  }>;
  /** What `env:NAME` references in the configuration mean; minting alone gets it. */
  readonly mintingSecrets?: Readonly<Record<string, string>>;
  /** OTEL_* and the system's variables are taken from here; default `process.env`. */
  readonly inheritFrom?: Readonly<Record<string, string | undefined>>;
  /** Every line of every service, beside its log file. */
  readonly onLine?: ((service: ServiceName, line: string) => void) | undefined;
  /** Gives up the start (Ctrl-C while it is under way); what was started is ended and its reason thrown. */
  readonly signal?: AbortSignal;
  /** Told in one line about anything unusual; default standard error. */
  readonly log?: (line: string) => void;
}

/** Mayfly, running. */
export interface Stack {
  readonly gatewayUrl: string;
  readonly dataDirectory: string;
  readonly postgres: {
    /** Superuser, in the database `postgres`. Secret. */
    readonly adminUrl: string;
    /** The same in Mayfly's database. Secret. */
    readonly databaseUrl: string;
    /** Role `mayfly_auditor` in Mayfly's database. Secret. */
    readonly auditorUrl: string;
    /** The server: `kill` and `restart` only when it is ours. */
    readonly server: PostgresServer | OwnPostgres;
  };
  readonly natsUrl: string;
  readonly nats: NatsServer | OwnNats;
  readonly keysFolder: string;
  /** Signs identity tokens that the development configuration trusts. */
  readonly issuer: IdentityIssuer;
  /** Files of identity tokens that are kept fresh while the stack runs. */
  readonly identityFiles: Readonly<Record<DevelopmentIdentity, string>>;
  readonly checkpointFile: string;
  readonly services: Readonly<Record<ServiceName, StackService>>;
  /** Starts one more of a service, on ports of its own, with the settings of the first and `env` over them. */
  startReplica(service: ServiceName, env?: Readonly<Record<string, string>>): Promise<StackService>;
  /** Changes streams and consumers while everything runs. */
  changeTopology(topology: TopologyOptions): Promise<void>;
  /** Ends everything that was started, in order; idempotent. */
  stop(): Promise<void>;
}
