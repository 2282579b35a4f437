/**
 * Telemetry of Mayfly's services: logs without secrets, metrics, and the spans of a lease's life. Tracing itself is
 * started by `@mayfly/telemetry/register`, before the service loads.
 */
export { LeaseSpan, SpanAttribute } from './attributes.ts';
export { errorKind, errorType, type ErrorKind } from './error-type.ts';
export {
  currentTraceId,
  currentTraceparent,
  inTrace,
  recordFailure,
  traceIdOf,
  withSpan,
  type SpanSettings,
} from './lease-trace.ts';
export { createLogger, type Logger, type LoggerSettings } from './logger.ts';
export { NestLogger } from './nest-logger.ts';
export { redactFields, redactText } from './redaction.ts';
export { shutdownTelemetry } from './running.ts';
export { assertSupportedNode } from './supported-node.ts';
export { aboutWork, describeWork, workFields, type WorkSubject } from './work-scope.ts';
export { createMetrics } from './metrics/registry.ts';
export { configRecovered } from './metrics/configuration.ts';
export {
  cutConnections,
  openConnections,
  refusedRequests,
  type ConnectionCut,
  type RefusalCause,
} from './metrics/admission.ts';
export {
  postgresAvailableConnections,
  postgresKeptConnections,
  postgresLeaseConnections,
  type UpstreamLabel,
} from './metrics/connections.ts';
export { issuanceDuration, issuances, unknownCredential, type IssuanceLabel } from './metrics/issuance.ts';
export {
  dueLag,
  failingLeases,
  foundUpstream,
  liveLeases,
  oldestOpenRevocation,
  openBreakers,
  openRevocations,
  pendingCleanUps,
  revocationFailures,
  type Collect,
} from './metrics/leases.ts';
export {
  deadLetters,
  outboxPending,
  rpcDuration,
  signalsLost,
  streamLag,
  topologyProblems,
} from './metrics/messages.ts';
export { peerAway, ready } from './metrics/service.ts';
export { ungrantedTables, type UngrantedCause, type UngrantedLabel } from './metrics/upstreams.ts';
export {
  auditFindings,
  auditVerifications,
  auditVerifiedAt,
  type VerificationOutcome,
  type VerificationScope,
} from './metrics/verification.ts';
