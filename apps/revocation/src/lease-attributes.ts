/** What spans of a lease's life, and through them the log lines of their work, say of the lease. */
import { SpanAttribute } from '@mayfly/telemetry';
import type { LeaseFacts } from './store/lease.ts';

export function leaseAttributes(lease: LeaseFacts): Record<string, string> {
  return {
    [SpanAttribute.leaseId]: lease.leaseId,
    [SpanAttribute.sessionId]: lease.sessionId,
    [SpanAttribute.agentId]: lease.agentId,
    [SpanAttribute.organization]: lease.organization,
    [SpanAttribute.credential]: lease.credential,
    [SpanAttribute.integration]: lease.integration,
    [SpanAttribute.provider]: lease.provider,
  };
}
