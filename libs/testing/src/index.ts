/** What tests are made with: receivers, taps, sweeps and conformance suites. Imported from tests only. */
export { BusTap } from './bus-tap.ts';
export { canonicalNames, oddNames } from './odd-names.ts';
export { OtlpReceiver, type ReceivedSpan } from './otlp-receiver.ts';
export {
  encodingsOf,
  filesBelow,
  sweep,
  type Finding,
  type SweptPlace,
  type SweptSecret,
} from './secret-sweep.ts';
export {
  describeProviderConformance,
  type ConformanceMint,
  type ConformanceMintRequest,
  type ConformanceOptions,
  type ConformanceSubject,
} from './provider-conformance.ts';
export {
  agentClaims,
  describeStack,
  identityToken,
  openSession,
  personClaims,
  publishWholeStack,
  startWholeStack,
  wholeStack,
  type TestStack,
  type WholeStack,
} from './whole-stack.ts';
