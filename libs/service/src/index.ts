/** How every Mayfly service is configured, started, watched and stopped. */
export { BackgroundLoop, type BackgroundLoopOptions } from './background-loop.ts';
export { failpoint, failpoints, FailpointOrder, type Failpoint } from './failpoints.ts';
export { Readiness, type ReadinessCheck } from './readiness.ts';
export type { ServiceHost } from './service-host.ts';
export {
  loadSettings,
  milliseconds,
  seconds,
  connectionUrl,
  serviceSettings,
  type ServiceSettings,
} from './settings.ts';
export { startService, type ServiceDefinition } from './start-service.ts';
export { KEY_FILES, LOGGER, METRICS, NATS_CONNECTION } from './tokens.ts';
