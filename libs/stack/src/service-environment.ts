/** What a service is told by its environment: the one place where this contract between stack and services is written. */
import { serviceNames, type ServiceName } from '@mayfly/contracts';

export { serviceNames, type ServiceName };

/** The services that own a schema in Postgres. */
export const databaseServices = ['policy', 'revocation', 'audit'] as const satisfies readonly ServiceName[];
/** A service that owns a schema in Postgres. */
export type DatabaseService = (typeof databaseServices)[number];

/** The environment of a service, apart from the standard OTEL_* variables and minting's secret references. */
export interface ServiceEnvironment {
  /** Address and port of the operations listener: health, readiness and metrics. */
  readonly MAYFLY_OPERATIONS_BIND: string;
  readonly MAYFLY_OPERATIONS_PORT: string;
  /** gateway: address and port of the API. */
  readonly MAYFLY_BIND?: string;
  readonly MAYFLY_SERVICE_PORT?: string;
  readonly MAYFLY_NATS_URL: string;
  /** File with the nkey seed of the service's own NATS user. */
  readonly MAYFLY_NATS_SEED_FILE: string;
  /** File with the certificate authority of the bus; set where NATS speaks TLS. */
  readonly MAYFLY_NATS_CA?: string;
  /** Only for services that own a schema: the URL of their own role. Secret. */
  readonly MAYFLY_POSTGRES_URL?: string;
  /** Keys folder: a service reads its own folder there, and `public/`. */
  readonly MAYFLY_KEYS: string;
  /** policy: the mayfly.yaml to apply when there is no configuration yet. */
  readonly MAYFLY_CONFIG?: string;
  /** audit: the file outside Postgres that signed checkpoints are appended to. */
  readonly MAYFLY_CHECKPOINT_FILE?: string;
  /** gateway: the URL by which agents and tools reach it. */
  readonly MAYFLY_PUBLIC_URL?: string;
  /** minting: `iss` of tool tokens, the gateway's URL. */
  readonly MAYFLY_TOOL_TOKEN_ISSUER?: string;
  readonly OTEL_SERVICE_NAME: string;
}

/** Where the parts are that the services are told of. */
export interface StackAddresses {
  readonly natsUrl: string;
  readonly natsCaFile?: string | undefined;
  readonly natsSeedFile: (service: ServiceName) => string;
  readonly postgresUrls: Readonly<Record<DatabaseService, string>>;
  readonly keysFolder: string;
  readonly configFile?: string | undefined;
  readonly checkpointFile: string;
  readonly gatewayUrl: string;
}

/** Where a service listens. */
export interface ServicePorts {
  readonly operations: number;
  /** Of the gateway alone. */
  readonly api?: number;
}

/** The environment contract of one service. */
export function serviceEnvironment(
  service: ServiceName,
  ports: ServicePorts,
  addresses: StackAddresses,
): ServiceEnvironment {
  return {
    MAYFLY_OPERATIONS_BIND: '127.0.0.1',
    MAYFLY_OPERATIONS_PORT: String(ports.operations),
    ...(ports.api === undefined ? {} : { MAYFLY_BIND: '127.0.0.1', MAYFLY_SERVICE_PORT: String(ports.api) }),
    MAYFLY_NATS_URL: addresses.natsUrl,
    MAYFLY_NATS_SEED_FILE: addresses.natsSeedFile(service),
    ...(addresses.natsCaFile === undefined ? {} : { MAYFLY_NATS_CA: addresses.natsCaFile }),
    ...(ownsSchema(service) ? { MAYFLY_POSTGRES_URL: addresses.postgresUrls[service] } : {}),
    MAYFLY_KEYS: addresses.keysFolder,
    ...(service === 'policy' && addresses.configFile !== undefined
      ? { MAYFLY_CONFIG: addresses.configFile }
      : {}),
    ...(service === 'audit' ? { MAYFLY_CHECKPOINT_FILE: addresses.checkpointFile } : {}),
    ...(service === 'gateway' ? { MAYFLY_PUBLIC_URL: addresses.gatewayUrl } : {}),
    ...(service === 'minting' ? { MAYFLY_TOOL_TOKEN_ISSUER: addresses.gatewayUrl } : {}),
    OTEL_SERVICE_NAME: `mayfly-${service}`,
  };
}

function ownsSchema(service: ServiceName): service is DatabaseService {
  return (databaseServices as readonly ServiceName[]).includes(service);
}

/** Variables of the system that a service may see; everything else of our environment stays with us. */
const PASSED_ON = [
  'PATH',
  'HOME',
  'TMPDIR',
  'TZ',
  'LANG',
  'LC_ALL',
  'NODE_ENV',
  'NODE_EXTRA_CA_CERTS',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'NO_PROXY',
  'MAYFLY_LOG_LEVEL',
];

/** Timers, rates and sizes of services (docs/configuration.md). What is no number or length of time may be a secret or a place, and stays with us. */
function isTuning(name: string, value: string): boolean {
  return name.startsWith('MAYFLY_') && /^\d+(?:ms|[smhd])?$/u.test(value);
}

/**
 * What of `env` every service gets: the system's basics, OTEL_* and numbers that tune Mayfly. Without an OTLP endpoint nothing is exported
 * (the SDK's own default would be to try localhost for ever).
 */
export function inheritedEnvironment(
  env: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const passed = Object.entries(env).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined &&
      (PASSED_ON.includes(entry[0]) || entry[0].startsWith('OTEL_') || isTuning(entry[0], entry[1])),
  );
  const inherited = Object.fromEntries(passed);
  delete inherited['OTEL_SERVICE_NAME'];
  const exports = [
    'OTEL_EXPORTER_OTLP_ENDPOINT',
    'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT',
    'OTEL_TRACES_EXPORTER',
  ];
  return exports.some((name) => inherited[name]) ? inherited : { ...inherited, OTEL_TRACES_EXPORTER: 'none' };
}
