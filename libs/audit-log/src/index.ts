/** Verification of the audit log straight from Postgres, for the audit service and for the command of auditors alike. */
export type { CheckpointVerifier } from './checkpoint-verifier.ts';
export { checkpointDigest, noCheckpoint } from './checkpoints-in-postgres.ts';
export { forAnyMonth } from './definitions/compare.ts';
export { expectedFile, type Expected } from './definitions/expected.ts';
export { readFacts, readMajor, type Fact } from './definitions/facts.ts';
export { LogSession, type LogSessionSettings } from './log-session.ts';
export { Findings, type Report, type VerifiedThrough } from './report.ts';
export { verifyLog, type Progress, type VerifySettings } from './verify-log.ts';
