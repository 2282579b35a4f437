/** Pure decisions of Mayfly: lease states, TTLs, names, narrowing. No Nest, no I/O; functions take `now` and answer with unions. */
export * from './agent-id.ts';
export * from './circuit-breaker.ts';
export * from './lease-mark.ts';
export * from './lease-states.ts';
export * from './organization-id.ts';
export * from './renewal.ts';
export * from './secret.ts';
export * from './secret-reference.ts';
export * from './ttl.ts';
export * from './providers/definition.ts';
export * from './providers/jwt.ts';
export * from './providers/postgres.ts';
export {
  leadsAgentsToStandbys,
  leadsToStandbys,
  severalStandbys,
} from './providers/postgres/agents-on-standbys.ts';
export * from './providers/postgres/connection.ts';
export {
  ambiguityOf,
  parseConnectionUrl,
  type ParsedConnectionUrl,
} from './providers/postgres/connection-url.ts';
export { connectionUrlOf, leaseUrl, type LeasePlace } from './providers/postgres/connection-url-text.ts';
export { providerDefinitions, type AnyProviderDefinition } from './providers/registry.ts';
export { canonicalJson } from './audit-chain/canonical-json.ts';
export { chainHash, chainHashOfText, genesisHash, type ChainedRow } from './audit-chain/chain.ts';
export { chainStart, ChainWalk, type ChainPosition, type FoundRow } from './audit-chain/chain-walk.ts';
export { derivedColumnNames, derivedColumns, type DerivedColumn } from './audit-chain/derived-columns.ts';
export { problems, type Difference, type Finding, type Problem } from './audit-chain/finding.ts';
export { microsecondsOf } from './audit-chain/instants.ts';
export { nestsDeeperThan } from './json-nesting.ts';
