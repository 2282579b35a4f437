/** A configuration with two organizations, and the claims that open sessions under it. For specs only. */
export const twoOrganizations = `
organizations:
  - { name: acme, trust_domain: acme.example, secret_references: ['env:ACME_'] }
  - { name: globex, trust_domain: globex.example, secret_references: ['env:GLOBEX_'] }
trust:
  - name: agents
    organization: acme
    issuer: https://issuer.example
    audience: mayfly
    jwks: ISSUER_KEYS
    require: { org: acme, kind: agent }
    as: agent
    agent: { orchestration: ci, task: { claim: task }, instance: { claim: run } }
    role: { claim: role, allowed: [analyst, writer] }
    user: { claim: on_behalf_of }
    session_ttl: 30m
  - name: people
    organization: acme
    issuer: https://issuer.example
    audience: mayfly
    jwks: ISSUER_KEYS
    require: { org: acme, kind: person }
    as: person
    user: { claim: email }
    person_roles:
      claim: groups
      values: { admins: administrator, auditors: auditor, platform: platform_administrator }
  - name: globex-agents
    organization: globex
    issuer: https://issuer.example
    audience: mayfly
    jwks: ISSUER_KEYS
    require: { org: globex, kind: agent }
    as: agent
    agent: { orchestration: ci, task: { claim: task }, instance: { claim: run } }
    role: { claim: role, allowed: [analyst] }
integrations:
  - { name: tool, organization: acme, provider: jwt, audience: 'https://tool.acme.example' }
  - { name: orders-db, organization: acme, provider: postgres, admin: env:ACME_ORDERS }
  - { name: plans, organization: globex, provider: jwt, audience: 'https://plans.globex.example' }
credentials:
  - name: tool/read
    organization: acme
    description: Reads orders
    roles: [analyst]
    scope: { scopes: ['read:orders:*'] }
    ttl: { default: 5m, max: 15m }
  - name: tool/rotating
    organization: acme
    roles: [writer]
    scope: { scopes: ['read:orders:*'] }
    limits: { per_session: 1 }
    renewal: { max_life: 20m, max_count: 2, grace: 10s }
  - name: tool/limited
    organization: acme
    roles: [analyst]
    scope: { scopes: ['read:orders:*'] }
    limits: { per_session: 3 }
  - name: tool/write
    organization: acme
    roles: [writer]
    scope: { scopes: ['write:orders:*'] }
  - name: orders-db/read
    organization: acme
    roles: [writer]
    scope: { privileges: [SELECT], schemas: [public] }
    ttl: { default: 5m, max: 15m }
    limits: { concurrent: 1 }
    renewal: { max_life: 20m, max_count: 2 }
  - name: plans/read
    organization: globex
    roles: [analyst]
    scope: { scopes: ['read:plans:*'] }
`;

export const analyst = {
  org: 'acme',
  kind: 'agent',
  task: 'nightly',
  run: '1',
  role: 'analyst',
  on_behalf_of: 'ann@acme.example',
};
export const globexAnalyst = { org: 'globex', kind: 'agent', task: 'nightly', run: '1', role: 'analyst' };
export const personIn = (...groups: string[]) => ({
  org: 'acme',
  kind: 'person',
  email: 'ann@acme.example',
  groups,
});
