/**
 * What is turned away before any work is done: too many requests at once, or from one source, or for one organization.
 * An organization's bucket is drained only by calls whose token policy has verified, so a stranger who writes an
 * organization's name into a token of his own stops nobody (I12).
 */
import { isIPv6 } from 'node:net';
import { MayflyError } from '@mayfly/contracts';
import type { RefusalCause } from '@mayfly/telemetry';
import type { FastifyInstance } from 'fastify';
import { sendProblem } from '../http/error-filter.ts';
import { sourceIpOf } from '../http/route.ts';
import type { GatewaySettings } from '../settings.ts';
import { TokenBuckets } from './token-bucket.ts';

const refusals: Record<RefusalCause, string> = {
  in_flight: 'too many requests at once',
  source_in_flight: 'too many requests at once from this address',
  source_rate: 'too many requests from this address',
  organization_rate: 'the organization sends too many requests',
};

/** Paths of probes and scrapers, which must get through when all else is busy. */
const exempt = new Set(['/healthz', '/readyz', '/metrics']);

export class Admission {
  readonly #sources: TokenBuckets;
  readonly #organizations: TokenBuckets;
  readonly #maxInFlight: number;
  /** One address may hold half of all places: a stranger who sends many bodies slowly keeps nobody else out. */
  readonly #maxOfSource: number;
  readonly #inFlightOf = new Map<string, number>();
  #inFlight = 0;
  #onRefusal: (cause: RefusalCause) => void = () => undefined;

  constructor(settings: GatewaySettings) {
    this.#sources = new TokenBuckets({
      ratePerSecond: settings.MAYFLY_SOURCE_RATE,
      burst: settings.MAYFLY_SOURCE_BURST,
      maxKeys: 50_000,
    });
    this.#organizations = new TokenBuckets({
      ratePerSecond: settings.MAYFLY_ORGANIZATION_RATE,
      burst: settings.MAYFLY_ORGANIZATION_BURST,
      maxKeys: 10_000,
    });
    this.#maxInFlight = settings.MAYFLY_MAX_IN_FLIGHT;
    this.#maxOfSource = Math.ceil(settings.MAYFLY_MAX_IN_FLIGHT / 2);
  }

  /** @param onRefusal Told once for each request that is turned away. */
  register(fastify: FastifyInstance, onRefusal: (cause: RefusalCause) => void): void {
    this.#onRefusal = onRefusal;
    fastify.addHook('onRequest', (request, reply, done) => {
      void reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff');
      if (exempt.has(request.routeOptions.url ?? '')) return done();
      const source = sourceKeyOf(sourceIpOf(request));
      const refusal = this.#refusal(source);
      if (refusal !== undefined) {
        onRefusal(refusal);
        return sendProblem(reply, { code: 'rate_limited', reason: refusals[refusal] });
      }
      this.#count(source, 1);
      // `close` comes once for every response, also for one whose client has gone.
      reply.raw.once('close', () => this.#count(source, -1));
      done();
    });
  }

  /** Runs a call that policy verifies, and charges the organization of its token once it has been verified. */
  async charged<T>(token: string, call: () => Promise<T>): Promise<T> {
    const organization = claimedOrganization(token);
    if (organization !== undefined && !this.#organizations.has(organization, performance.now())) {
      this.#onRefusal('organization_rate');
      throw new MayflyError('rate_limited', refusals.organization_rate);
    }
    try {
      const result = await call();
      if (organization !== undefined) this.#organizations.take(organization, performance.now());
      return result;
    } catch (error) {
      const verified =
        error instanceof MayflyError &&
        error.code !== 'unauthenticated' &&
        error.code !== 'dependency_unavailable';
      if (verified && organization !== undefined) this.#organizations.take(organization, performance.now());
      throw error;
    }
  }

  #refusal(source: string): RefusalCause | undefined {
    if (this.#inFlight >= this.#maxInFlight) return 'in_flight';
    if ((this.#inFlightOf.get(source) ?? 0) >= this.#maxOfSource) return 'source_in_flight';
    return this.#sources.take(source, performance.now()) ? undefined : 'source_rate';
  }

  #count(source: string, by: 1 | -1): void {
    this.#inFlight += by;
    const ofSource = (this.#inFlightOf.get(source) ?? 0) + by;
    if (ofSource === 0) this.#inFlightOf.delete(source);
    else this.#inFlightOf.set(source, ofSource);
  }
}

/** One subscriber has a whole /64 of IPv6 (RFC 6177 §2) and could come from another address of it each time. */
export function sourceKeyOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = [], tail = []] = address
    .split('::', 2)
    .map((groups) => groups.split(':').filter((group) => group !== ''));
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => '0');
  const network = [...head, ...zeros, ...tail].slice(0, 4);
  return `${network.map((group) => group.replace(/^0+(?=.)/, '').toLowerCase()).join(':')}::/64`;
}

/** The organization that a token names, unverified: fit for choosing a bucket to look into, for nothing else. */
function claimedOrganization(token: string): string | undefined {
  const payload = token.split('.', 2)[1];
  if (payload === undefined) return undefined;
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'));
    if (typeof claims !== 'object' || claims === null || !('organization' in claims)) return undefined;
    return typeof claims.organization === 'string' ? claims.organization.slice(0, 63) : undefined;
  } catch {
    return undefined;
  }
}
