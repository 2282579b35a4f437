/** The stack that benchmarks run against: the development stack with credentials made for measuring. */
import { readFileSync } from 'node:fs';
import {
  AgentApi,
  DEVELOPMENT_CONFIGURATION,
  startDevelopmentStack,
  type DevelopmentStack,
} from '@mayfly/stack';

/** Added to the development configuration: the same database with one SCRAM iteration, and limits that nothing here reaches. */
const additions = {
  integrations: `
  - name: orders-fast
    provider: postgres
    admin: env:ORDERS_ADMIN_URL
    scram_iterations: 1
`,
  credentials: `
  - name: orders-db/measured
    roles: [analyst]
    scope: { privileges: [SELECT], schemas: [public] }
    ttl: { default: 50m, max: 1h }
    limits: { per_session: 1000000, concurrent: 1000000 }
  - name: orders-fast/measured
    roles: [analyst]
    scope: { privileges: [SELECT], schemas: [public] }
    ttl: { default: 50m, max: 1h }
    limits: { per_session: 1000000, concurrent: 1000000 }
`,
};

export async function startBenchStack(): Promise<{ stack: DevelopmentStack; agent: AgentApi }> {
  const configuration = readFileSync(DEVELOPMENT_CONFIGURATION, 'utf8')
    .replace(/^integrations:\n/m, `integrations:${additions.integrations}`)
    .replace(/^credentials:\n/m, `credentials:${additions.credentials}`);
  const stack = await startDevelopmentStack({
    configuration,
    gatewayPort: 0,
    log: () => undefined,
    env: {
      gateway: {
        MAYFLY_SOURCE_RATE: '1000000',
        MAYFLY_SOURCE_BURST: '1000000',
        MAYFLY_ORGANIZATION_RATE: '1000000',
        MAYFLY_ORGANIZATION_BURST: '1000000',
      },
    },
  });
  const identity = readFileSync(stack.identityFiles.agent, 'utf8').trim();
  return { stack, agent: await AgentApi.openSession(stack.gatewayUrl, identity) };
}
