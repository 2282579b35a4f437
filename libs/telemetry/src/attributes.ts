/** Names of the span attributes that Mayfly defines itself; everything else follows OTel's semantic conventions. */
export const SpanAttribute = {
  /** UUIDv7 of the lease: the identity; the trace id is chosen by the caller and proves nothing. */
  leaseId: 'mayfly.lease.id',
  sessionId: 'mayfly.session.id',
  /** SPIFFE ID of the agent. */
  agentId: 'mayfly.agent.id',
  organization: 'mayfly.organization',
  /** `<integration>/<name>`. */
  credential: 'mayfly.credential',
  integration: 'mayfly.integration',
  provider: 'mayfly.provider',
  /** `allow`, `deny` or `pending`. */
  decision: 'mayfly.decision',
  /** How an operation on a lease ended, in the words of the lease states. */
  outcome: 'mayfly.outcome',
  /** Of Mayfly's error table, where `error.type` is the code of whatever is behind it. */
  errorCode: 'mayfly.error.code',
} as const;

/** Names of the spans that are written into a lease's trace (design: one trace shows the whole life). */
export const LeaseSpan = {
  use: 'lease.use',
  renew: 'lease.renew',
  expire: 'lease.expire',
  revoke: 'lease.revoke',
} as const;
