/** Everything to run the whole of Mayfly on one machine, as child processes. */
export { findProgram, ProgramMissing, type ProgramQuery } from './programs/find-program.ts';
export { findNatsServer, findPsql } from './programs/known-programs.ts';
export { freePort, releasePort } from './processes/free-port.ts';
export {
  ProcessFailed,
  startProcess,
  type ProcessExit,
  type ProcessOptions,
  type RunningProcess,
} from './processes/start-process.ts';
export { DeadlineExceeded, waitUntil, type WaitOptions } from './processes/wait-until.ts';
export {
  startPostgres,
  usePostgres,
  type OwnPostgres,
  type PostgresOptions,
  type PostgresServer,
} from './postgres/start-postgres.ts';
export {
  natsServerConfig,
  NATS_MAX_PAYLOAD,
  type NatsServerConfigOptions,
} from './nats/nats-server-config.ts';
export { adoptStreams } from './nats/adopt-streams.ts';
export { startNats, useNats, type NatsOptions, type NatsServer, type OwnNats } from './nats/start-nats.ts';
export {
  generateKeys,
  NATS_USER_NAMES,
  type GeneratedKeys,
  type NatsUserName,
} from './keys/generate-keys.ts';
export { generateTls, type TlsFiles } from './keys/generate-tls.ts';
export {
  DEVELOPMENT_IDENTITIES,
  DEVELOPMENT_IDENTITY_SECONDS,
  keepDevelopmentIdentities,
  writeDevelopmentIdentities,
  type DevelopmentIdentity,
} from './issuer/development-identities.ts';
export {
  DEVELOPMENT_ISSUER,
  IDENTITY_AUDIENCE,
  issueIdentityToken,
  openDevelopmentIssuer,
  type IdentityIssuer,
  type IdentityTokenOptions,
} from './issuer/development-issuer.ts';
export { DataFolderInUse } from './data-folder/data-folder-lock.ts';
export { repositoryRoot, type StackService } from './services/start-service.ts';
export {
  databaseServices,
  inheritedEnvironment,
  serviceEnvironment,
  type DatabaseService,
  type ServiceEnvironment,
  type ServicePorts,
  type StackAddresses,
} from './service-environment.ts';
export { openBus, prepareBus, type BusOptions } from './services/prepare-bus.ts';
export { prepareDatabase, type DatabaseUrls } from './services/prepare-database.ts';
export { startStack } from './stack.ts';
export { DEFAULT_DATABASE, DEFAULT_GATEWAY_PORT, type Stack, type StackOptions } from './stack-options.ts';
export { prepareOrdersDatabase, ORDERS_DATABASE } from './development/orders-database.ts';
export type { StackFile } from './development/stack-file.ts';
export {
  DEVELOPMENT_CONFIGURATION,
  startDevelopmentStack,
  type DevelopmentStack,
} from './development/start-development-stack.ts';
export { AgentApi, Refused, type OpenedLease, type SessionOptions } from './development/agent-api.ts';
