/** Settings of the gateway. */
import { milliseconds, serviceSettings } from '@mayfly/service';
import { z } from 'zod';
import { TrustedProxies } from './edge/caller-address.ts';

export const GatewaySettings = z.object({
  ...serviceSettings,
  /** Port of the API. 0 takes any free one. */
  MAYFLY_SERVICE_PORT: z.coerce.number().int().min(0).max(65_535).default(0),
  /** Address that the API listens on. */
  MAYFLY_BIND: z.string().default('127.0.0.1'),
  /** The URL by which agents and tools reach the gateway; also the `iss` of tool tokens. Default: the listening address. */
  MAYFLY_PUBLIC_URL: z.url().optional(),
  /** Addresses or CIDR ranges of proxies, separated by commas, whose `X-Forwarded-For` is believed. Default: none. */
  MAYFLY_TRUSTED_PROXIES: z
    .string()
    .optional()
    .transform((setting, context) => {
      try {
        return new TrustedProxies(setting);
      } catch (error) {
        context.addIssue({ code: 'custom', message: (error as Error).message });
        return z.NEVER;
      }
    }),
  /** Requests per second that one source address may send, on average. */
  MAYFLY_SOURCE_RATE: z.coerce.number().min(1).default(200),
  /** Requests that one source address may send at once above that. */
  MAYFLY_SOURCE_BURST: z.coerce.number().min(1).default(400),
  /** Requests per second of one organization's sessions, and how many at once above that. */
  MAYFLY_ORGANIZATION_RATE: z.coerce.number().min(1).default(1_000),
  MAYFLY_ORGANIZATION_BURST: z.coerce.number().min(1).default(2_000),
  /** Requests being worked on at the same time; more are turned away at once. A request counts when its whole body is there. */
  MAYFLY_MAX_IN_FLIGHT: z.coerce.number().int().min(1).default(512),
  /** Ends, revocations, blocks and heartbeats beside those, in places that nothing else takes. */
  MAYFLY_MAX_VITAL_IN_FLIGHT: z.coerce.number().int().min(1).default(128),
  /** Bodies that are still to come, in places of 64 KiB each; the oldest is cut off for a new one. One source has half. */
  MAYFLY_MAX_UNREAD_BODIES: z.coerce.number().int().min(16).default(512),
  /** Answers that are not read yet, in bytes; the oldest is given up with its connection for a new one. One source has half. */
  MAYFLY_MAX_UNREAD_ANSWER_BYTES: z.coerce
    .number()
    .int()
    .min(1_048_576)
    .default(64 * 1_048_576),
  /** Open connections; the least useful is closed for a new one. */
  MAYFLY_MAX_CONNECTIONS: z.coerce.number().int().min(1).default(2_048),
  /** Open connections of one source address; a trusted proxy may have all. */
  MAYFLY_MAX_CONNECTIONS_PER_SOURCE: z.coerce.number().int().min(1).default(512),
  /** Time in which a client must have sent the headers of a request. */
  MAYFLY_HEADERS_TIMEOUT_MS: milliseconds(5_000),
  /** Time in which a client must have sent its whole request. */
  MAYFLY_REQUEST_TIMEOUT_MS: milliseconds(10_000),
  /** Time in which a client must have read an answer. */
  MAYFLY_ANSWER_TIMEOUT_MS: milliseconds(20_000),
  /** Longest that a connection may be idle between requests; those of trusted proxies may be for 75 s. */
  MAYFLY_IDLE_TIMEOUT_MS: milliseconds(10_000),
  /**
   * Whether metrics of issuance name the credentials. Off by default: what scrapes metrics need not know what there is to ask for.
   */
  MAYFLY_METRICS_CREDENTIAL_NAMES: z.stringbool().default(false),
});
export type GatewaySettings = z.infer<typeof GatewaySettings>;
