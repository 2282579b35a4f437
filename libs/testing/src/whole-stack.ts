/**
 * The stack that whole-system specs run against: the five services as processes on a real NATS and a real Postgres, with
 * the tests' configuration of two organizations. Specs that kill or overload things start one of their own.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  AgentApi,
  issueIdentityToken,
  openDevelopmentIssuer,
  repositoryRoot,
  startDevelopmentStack,
  type DevelopmentStack,
  type SessionOptions,
  type StackOptions,
} from '@mayfly/stack';
import { prepareGlobexDatabase } from './globex-database.ts';

/** A stack with the tests' configuration, in which each organization has a database of its own. */
export interface TestStack extends DevelopmentStack {
  /** Administrator of the database `globex`. Secret. */
  readonly globexAdminUrl: string;
}

/** What specs need to know of a stack; plain, so that it travels from Jest's setup to its workers. */
export interface WholeStack {
  readonly gatewayUrl: string;
  readonly dataDirectory: string;
  readonly keysFolder: string;
  readonly natsUrl: string;
  readonly checkpointFile: string;
  readonly serviceUrls: Readonly<Record<string, string>>;
  /** Secret URLs of the database roles. */
  readonly ordersAdminUrl: string;
  readonly globexAdminUrl: string;
  readonly superuserUrl: string;
  readonly mayflyDatabaseUrl: string;
  readonly auditorUrl: string;
}

const variable = 'MAYFLY_TEST_WHOLE_STACK';

/** Starts a stack with the tests' configuration. `env` of single services shortens timers. */
export async function startWholeStack(options: StackOptions = {}): Promise<TestStack> {
  let globexAdminUrl = '';
  const mintingSecrets: Record<string, string> = {
    // Nothing listens on port 1; a refused connection is what an upstream that is down looks like.
    ORDERS_UNREACHABLE_URL: 'postgres://nobody:nothing@127.0.0.1:1/orders',
    ...options.mintingSecrets,
  };
  const stack = await startDevelopmentStack({
    gatewayPort: 0,
    log: () => undefined,
    ...options,
    configuration: readFileSync(join(repositoryRoot(), 'test', 'whole-stack', 'mayfly.yaml'), 'utf8'),
    mintingSecrets,
    prepare: async (parts) => {
      globexAdminUrl = await prepareGlobexDatabase(parts.adminUrl, randomBytes(24).toString('base64url'));
      // Known only now that Postgres runs; read when the services start, which is after this.
      mintingSecrets['GLOBEX_ADMIN_URL'] = globexAdminUrl;
      return { ...(await options.prepare?.(parts)) };
    },
    // One address sends everything here; limits have specs of their own.
    env: {
      ...options.env,
      gateway: { MAYFLY_SOURCE_RATE: '100000', MAYFLY_SOURCE_BURST: '100000', ...options.env?.gateway },
    },
  });
  return { ...stack, globexAdminUrl };
}

/** The facts of a stack for specs. */
export function describeStack(stack: TestStack): WholeStack {
  return {
    gatewayUrl: stack.gatewayUrl,
    dataDirectory: stack.dataDirectory,
    keysFolder: stack.keysFolder,
    natsUrl: stack.natsUrl,
    checkpointFile: stack.checkpointFile,
    serviceUrls: Object.fromEntries(Object.entries(stack.services).map(([name, { url }]) => [name, url])),
    ordersAdminUrl: stack.ordersAdminUrl,
    globexAdminUrl: stack.globexAdminUrl,
    superuserUrl: stack.postgres.adminUrl,
    mayflyDatabaseUrl: stack.postgres.databaseUrl,
    auditorUrl: stack.postgres.auditorUrl,
  };
}

/** For Jest's global setup: makes the stack known to the workers. */
export function publishWholeStack(stack: TestStack): void {
  process.env[variable] = JSON.stringify(describeStack(stack));
}

/** For specs: the stack that the global setup started. */
export function wholeStack(): WholeStack {
  const described = process.env[variable];
  if (described === undefined)
    throw new Error('There is no stack: run this through Jest with the project "whole".');
  return JSON.parse(described) as WholeStack;
}

/** Claims of an agent as the tests' trust rules want them; a new instance each time unless named. */
export function agentClaims(claims: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    kind: 'agent',
    org: 'acme',
    orchestration: 'e2e',
    task: 'orders-report',
    instance: `i-${crypto.randomUUID()}`,
    role: 'analyst',
    on_behalf_of: 'ada@example.com',
    ...claims,
  };
}

/** Claims of a person. */
export function personClaims(
  groups: readonly string[],
  claims: Record<string, unknown> = {},
): Record<string, unknown> {
  return { kind: 'person', org: 'acme', email: 'grace@example.com', groups, ...claims };
}

/** A signed platform identity. */
export async function identityToken(
  { dataDirectory }: Pick<WholeStack, 'dataDirectory'>,
  claims: Record<string, unknown>,
  options: Partial<Parameters<typeof issueIdentityToken>[2]> = {},
): Promise<string> {
  const issuer = await openDevelopmentIssuer(join(dataDirectory, 'issuer'));
  return issueIdentityToken(issuer, { sub: 'test', ...claims }, { expiresInSeconds: 300, ...options });
}

/** An open session for these claims. */
export async function openSession(
  stack: Pick<WholeStack, 'dataDirectory' | 'gatewayUrl'>,
  claims: Record<string, unknown> = agentClaims(),
  options: SessionOptions = {},
): Promise<AgentApi> {
  return AgentApi.openSession(stack.gatewayUrl, await identityToken(stack, claims), options);
}
