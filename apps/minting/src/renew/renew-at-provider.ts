/**
 * Lets what a handle names work for longer at the provider, as far as policy's signature says: neither the gateway nor
 * revocation can prolong anything by their own word.
 */
import { bus, MayflyError, type InputOf, type OutputOf, type RenewalClaims } from '@mayfly/contracts';
import type { CircuitBreakers } from '@mayfly/domain';
import { remainingMs } from '@mayfly/messaging';
import { describeWork } from '@mayfly/telemetry';
import type { TokenVerifier } from '@mayfly/tokens';
import type { Admission } from '../providers/admission.ts';
import { openHandle, type Handles } from '../lease-handle.ts';
import { asMayflyError, asProviderFailure, noteFailure } from '../providers/provider-error.ts';
import type { ProviderRunner, RenewCall } from '../providers/provider-runner.ts';

type Renew = typeof bus.minting.renewAtProvider;

export interface RenewAtProviderOptions {
  readonly grants: Pick<TokenVerifier<RenewalClaims>, 'verify'>;
  readonly handles: Handles;
  /** The places of mints: both wait for the same upstream. */
  readonly admission: Admission;
  /** Those of mints too, for the same reason. */
  readonly breakers: CircuitBreakers;
  readonly runner: Pick<ProviderRunner, 'renew'>;
}

/** How much later than what policy allows the upstream's own expiry may be: as much as clocks may be apart. Milliseconds. */
const mostLateMs = 60_000;

/** What is kept of the caller's time for the answer, in milliseconds. */
const marginMs = 500;

export class RenewAtProvider {
  constructor(private readonly options: RenewAtProviderOptions) {}

  /**
   * Throws `unauthenticated` for a grant that policy did not sign or that allows less, `lease_ended` when the upstream has
   * nothing left to prolong, `provider_rejected`, `provider_unavailable`.
   */
  async renew(input: InputOf<Renew>): Promise<OutputOf<Renew>> {
    const { grants, handles, admission, breakers } = this.options;
    const grant = await grants.verify(input.grant, { now: new Date() });
    const { organization } = grant.actor;
    const notAfter = new Date(input.native_not_after);
    if (
      input.ttl_seconds > grant.ttl_seconds + 1 ||
      notAfter.getTime() > Date.parse(grant.expires_at) + mostLateMs
    ) {
      throw new MayflyError('unauthenticated', 'The renewal is for longer than was granted.');
    }
    const { lease_id: leaseId, integration, provider } = grant;
    describeWork({ lease_id: leaseId, organization, integration, provider });
    const binding = { leaseId, organization, integration };
    const opened = await openHandle(handles, input.handle, binding, provider);
    const call = {
      leaseId,
      organization,
      provider,
      integration: {
        name: integration,
        settings: opened.integration_settings,
        secret_references: opened.secret_references,
      },
      handle: opened.handle,
      ttlSeconds: input.ttl_seconds,
      notAfter,
    };
    const place = `${organization}/${integration}`;
    if (!breakers.mayTry(place, performance.now())) {
      throw new MayflyError(
        'provider_unavailable',
        'the integration fails; it is tried again in a few seconds',
      );
    }
    const renewed = await admission.run({ organization, integration }, timeLeftMs(), () =>
      this.#call(place, call),
    );
    if (renewed === 'gone') throw new MayflyError('lease_ended', 'The lease has ended.');
    const { nativeExpiresAt } = renewed;
    return nativeExpiresAt === undefined ? {} : { native_expires_at: nativeExpiresAt.toISOString() };
  }

  /** An upstream that hangs is left after the deadline of a call, and after some of those left alone for a while. */
  async #call(place: string, call: RenewCall) {
    const { breakers, runner } = this.options;
    try {
      const renewed = await runner.renew(call, timeLeftMs());
      breakers.succeeded(place);
      return renewed;
    } catch (error) {
      const failure = asProviderFailure(error);
      noteFailure(breakers, place, failure);
      throw asMayflyError(failure);
    }
  }
}

function timeLeftMs(): number {
  return Math.min(remainingMs(), bus.minting.renewAtProvider.bus.timeoutMs) - marginMs;
}
