/** The settings of minting. It has no configuration of its own: what it mints, and where, comes with each grant. */
import { milliseconds, serviceSettings } from '@mayfly/service';
import { z } from 'zod';

const count = (defaultValue: number) => z.coerce.number().int().min(1).max(1_000).default(defaultValue);

const settings = z.object({
  ...serviceSettings,
  /** `iss` of tool tokens: the gateway's public address, without a slash at the end. */
  MAYFLY_TOOL_TOKEN_ISSUER: z
    .url({ protocol: /^https?$/ })
    .transform((url) => url.replace(/\/+$/, ''))
    .default('http://127.0.0.1:8470'),
  /** Of each call of a provider. */
  MAYFLY_PROVIDER_DEADLINE_MS: milliseconds(20_000),
  /** Mints at once at one integration. */
  MAYFLY_MINTS_PER_INTEGRATION: count(32),
  /** Mints that may wait for one of those, and how long. */
  MAYFLY_MINT_QUEUE: count(64),
  MAYFLY_MINT_QUEUE_WAIT_MS: milliseconds(5_000),
  /** Mints that run or wait at all integrations of one organization. */
  MAYFLY_MINTS_PER_ORGANIZATION: count(256),
  /** Failures in a row after which mints at an integration fail at once, and for how long at a time. */
  MAYFLY_BREAKER_FAILURES: count(5),
  MAYFLY_BREAKER_OPEN_MS: milliseconds(3_000),
  /** Connections to one database as one privileged role. */
  MAYFLY_POSTGRES_CONNECTIONS: count(16),
  /** `statement_timeout` there. A statement starts only while this much of the provider's deadline is left. */
  MAYFLY_POSTGRES_STATEMENT_TIMEOUT_MS: milliseconds(10_000),
  /** Longest wait for a free connection, and longest that making one takes. */
  MAYFLY_POSTGRES_CONNECT_TIMEOUT_MS: milliseconds(5_000),
  /** How long a scope's group role is taken for complete: new tables are granted after this at the latest. */
  MAYFLY_POSTGRES_GROUP_FRESH_MS: milliseconds(60_000),
});

/** A statement that may outlast the call would never be started. */
export const MintingSettings = settings.refine(
  (given) => given.MAYFLY_POSTGRES_STATEMENT_TIMEOUT_MS < given.MAYFLY_PROVIDER_DEADLINE_MS,
  {
    path: ['MAYFLY_POSTGRES_STATEMENT_TIMEOUT_MS'],
    error: 'must be shorter than MAYFLY_PROVIDER_DEADLINE_MS',
  },
);
export type MintingSettings = z.infer<typeof MintingSettings>;
