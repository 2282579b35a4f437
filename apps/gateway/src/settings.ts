/** Settings of the gateway. */
import { milliseconds, serviceSettings } from '@mayfly/service';
import { z } from 'zod';

export const GatewaySettings = z.object({
  ...serviceSettings,
  /** The URL by which agents and tools reach the gateway; also the `iss` of tool tokens. Default: the listening address. */
  MAYFLY_PUBLIC_URL: z.url().optional(),
  /** Addresses or CIDR ranges of proxies, separated by commas, whose `X-Forwarded-For` is believed. Default: none. */
  MAYFLY_TRUSTED_PROXIES: z.string().optional(),
  /** Requests per second that one source address may send, on average. */
  MAYFLY_SOURCE_RATE: z.coerce.number().min(1).default(200),
  /** Requests that one source address may send at once above that. */
  MAYFLY_SOURCE_BURST: z.coerce.number().min(1).default(400),
  /** Requests per second of one organization's sessions, and how many at once above that. */
  MAYFLY_ORGANIZATION_RATE: z.coerce.number().min(1).default(1_000),
  MAYFLY_ORGANIZATION_BURST: z.coerce.number().min(1).default(2_000),
  /** Requests being worked on at the same time; more are turned away at once. */
  MAYFLY_MAX_IN_FLIGHT: z.coerce.number().int().min(1).default(512),
  /** Time in which a client must have sent its whole request. */
  MAYFLY_REQUEST_TIMEOUT_MS: milliseconds(30_000),
});
export type GatewaySettings = z.infer<typeof GatewaySettings>;
