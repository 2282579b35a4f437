/** The document `mayfly.yaml`, checked and compiled: what policy decides by and what `mayfly config check` checks. */
export { needsNoApproval } from './approval.ts';
export * from './configuration.ts';
export { didYouMean } from './document/suggest.ts';
export { namedOrganizations } from './named-organizations.ts';
export { parseConfiguration, type ParsedConfiguration, type ParseOptions } from './parse.ts';
export { PolicyEvaluator, type PolicyDecision, type PolicyQuestion } from './cedar/evaluator.ts';
export type { CheckedPolicies, CheckedPolicy } from './cedar/policies.ts';
