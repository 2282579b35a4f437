/** Ends at the provider what a handle names, or what an order of policy names by the lease id. */
import type { bus, InputOf, OutputOf, ReconcileClaims } from '@mayfly/contracts';
import { failpoint } from '@mayfly/service';
import type { TokenVerifier } from '@mayfly/tokens';
import { openHandle, type Handles } from '../lease-handle.ts';
import { asMayflyError, asProviderFailure } from '../providers/provider-error.ts';
import type { ProviderRunner } from '../providers/provider-runner.ts';

export interface EndAtProviderOptions {
  readonly handles: Handles;
  readonly orders: Pick<TokenVerifier<ReconcileClaims>, 'verify'>;
  readonly runner: Pick<ProviderRunner, 'revoke' | 'reconcile'>;
}

type Revoke = typeof bus.minting.revokeAtProvider;
type Reconcile = typeof bus.minting.reconcileAtProvider;

export class EndAtProvider {
  constructor(private readonly options: EndAtProviderOptions) {}

  /** Throws `invalid_request` for a handle that is not this lease's, `provider_rejected`, `provider_unavailable`. */
  async revoke(input: InputOf<Revoke>): Promise<OutputOf<Revoke>> {
    const { lease_id: leaseId, organization, integration, provider } = input;
    const binding = { leaseId, organization, integration };
    const opened = await openHandle(this.options.handles, input.handle, binding, provider);
    failpoint('minting.revoke.before');
    const outcome = await this.options.runner
      .revoke({
        leaseId,
        organization,
        provider,
        integration: {
          name: integration,
          settings: opened.integration_settings,
          secret_references: opened.secret_references,
        },
        handle: opened.handle,
      })
      .catch(rethrow);
    failpoint('minting.revoke.after');
    return { outcome };
  }

  /** Throws `unauthenticated` for an order that policy did not sign, `provider_rejected`, `provider_unavailable`. */
  async reconcile(signedOrder: string): Promise<OutputOf<Reconcile>> {
    const order = await this.options.orders.verify(signedOrder, { now: new Date() });
    const { jti: leaseId, organization, provider, integration, settings } = order;
    failpoint('minting.reconcile.before');
    const outcome = await this.options.runner
      .reconcile({ leaseId, organization, provider, integration, settings })
      .catch(rethrow);
    failpoint('minting.reconcile.after');
    return { outcome };
  }
}

function rethrow(error: unknown): never {
  throw asMayflyError(asProviderFailure(error));
}
