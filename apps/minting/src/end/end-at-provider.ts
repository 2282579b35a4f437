/** Ends at the provider what a handle names, or what an order of policy names by the lease id. */
import type { bus, InputOf, OutputOf, ReconcileClaims, SweepClaims } from '@mayfly/contracts';
import { remainingMs } from '@mayfly/messaging';
import { failpoint } from '@mayfly/service';
import { describeWork } from '@mayfly/telemetry';
import type { TokenVerifier } from '@mayfly/tokens';
import { openHandle, sealProviderHandle, type Handles } from '../lease-handle.ts';
import { asMayflyError, asProviderFailure } from '../providers/provider-error.ts';
import type { ProviderRunner } from '../providers/provider-runner.ts';

export interface EndAtProviderOptions {
  readonly handles: Handles;
  readonly orders: Pick<TokenVerifier<ReconcileClaims>, 'verify'>;
  readonly sweeps: Pick<TokenVerifier<SweepClaims>, 'verify'>;
  readonly runner: Pick<ProviderRunner, 'revoke' | 'cleanUp' | 'reconcile' | 'list' | 'inspect'>;
}

type Revoke = typeof bus.minting.revokeAtProvider;
type CleanUp = typeof bus.minting.cleanUpAtProvider;
type Reconcile = typeof bus.minting.reconcileAtProvider;
type List = typeof bus.minting.listAtProvider;
type Inspect = typeof bus.minting.inspectAtProvider;

/** How long before a caller's time is over it is told that the work goes on, at most. Milliseconds. */
const mostMarginMs = 500;

/** Most lease ids of one page. */
const pageSize = 5_000;

export class EndAtProvider {
  /** What is being ended, by organization, lease and handle: who asks again while it lasts gets the same answer. */
  readonly #underWay = new Map<string, Promise<unknown>>();

  constructor(private readonly options: EndAtProviderOptions) {}

  /**
   * `under_way` when the caller's time is over first: the work goes on, and whoever asks again joins it. So a caller that hears
   * nothing knows that it is minting that is away, and not a slow upstream. Throws `invalid_request` for a handle that is not
   * this lease's, `provider_rejected`, `provider_unavailable`.
   */
  async revoke(input: InputOf<Revoke>): Promise<OutputOf<Revoke>> {
    const call = await this.#opened(input);
    failpoint('minting.revoke.before');
    // Of one lease there may be two handles, when its grant was redeemed twice: neither answers for the other.
    const key = `revoke ${call.organization} ${call.leaseId} ${JSON.stringify(call.handle)}`;
    const outcome = await orUnderWay(this.#once(key, () => this.options.runner.revoke(call))).catch(rethrow);
    failpoint('minting.revoke.after');
    return { outcome };
  }

  /** Removes what a lease whose access has ended left. `under_way` and errors as of `revoke`. */
  async cleanUp(input: InputOf<CleanUp>): Promise<OutputOf<CleanUp>> {
    const call = await this.#opened(input);
    failpoint('minting.clean-up.before');
    const key = `clean-up ${call.organization} ${call.leaseId} ${JSON.stringify(call.handle)}`;
    const cleanUp = () => this.options.runner.cleanUp(call).then(() => 'done' as const);
    const outcome = await orUnderWay(this.#once(key, cleanUp)).catch(rethrow);
    failpoint('minting.clean-up.after');
    return { outcome };
  }

  /** Whether what a handle names is still there. Throws as `revoke`. */
  async inspect(input: InputOf<Inspect>): Promise<OutputOf<Inspect>> {
    const outcome = await this.options.runner.inspect(await this.#opened(input)).catch(rethrow);
    return { outcome };
  }

  /** Throws `unauthenticated` for an order that policy did not sign, `provider_rejected`, `provider_unavailable`. */
  async list({ order, after }: InputOf<List>): Promise<OutputOf<List>> {
    const { organization, provider, integration, mark } = await this.options.sweeps.verify(order, {
      now: new Date(),
    });
    describeWork({ organization, provider, integration: integration.name });
    const page = { mark, limit: pageSize, ...(after !== undefined && { after }) };
    const found = await this.options.runner
      .list({ organization, provider, integration, ...page })
      .catch(rethrow);
    if (found === undefined) return { outcome: 'unlistable' };
    return { outcome: 'listed', lease_ids: [...found], more: found.length === pageSize };
  }

  async #opened(input: InputOf<Revoke>) {
    const { lease_id: leaseId, organization, integration, provider } = input;
    const binding = { leaseId, organization, integration };
    const opened = await openHandle(this.options.handles, input.handle, binding, provider);
    return {
      leaseId,
      organization,
      provider,
      integration: {
        name: integration,
        settings: opened.integration_settings,
        secret_references: opened.secret_references,
      },
      handle: opened.handle,
    };
  }

  /** As `revoke`. Throws `unauthenticated` for an order that policy did not sign, `provider_rejected`, `provider_unavailable`. */
  async reconcile(signedOrder: string): Promise<OutputOf<Reconcile>> {
    const order = await this.options.orders.verify(signedOrder, { now: new Date() });
    const { jti: leaseId, organization, provider, integration, settings } = order;
    describeWork({ lease_id: leaseId, organization, provider, integration: integration.name });
    failpoint('minting.reconcile.before');
    const reconcile = () =>
      this.options.runner.reconcile({ leaseId, organization, provider, integration, settings });
    const key = `reconcile ${organization} ${leaseId}`;
    const reconciled = await orUnderWay(this.#once(key, reconcile)).catch(rethrow);
    failpoint('minting.reconcile.after');
    if (reconciled === 'under_way') return { outcome: reconciled };
    if (reconciled.outcome !== 'access_ended') return reconciled;
    const upstream = { leaseId, organization, provider, integration };
    const handle = await sealProviderHandle(this.options.handles, upstream, reconciled.handle);
    return { outcome: 'access_ended', handle };
  }

  /** An upstream that is slow is not asked a second time for what it is doing. Bounded by the calls under way. */
  #once<T>(key: string, work: () => Promise<T>): Promise<T> {
    const underWay = this.#underWay.get(key) as Promise<T> | undefined;
    if (underWay !== undefined) return underWay;
    const begun = work().finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, begun);
    return begun;
  }
}

/** What `work` comes to, or `under_way` shortly before the request being handled has no time left. */
async function orUnderWay<T>(work: Promise<T>): Promise<T | 'under_way'> {
  const leftMs = remainingMs();
  if (leftMs === Infinity) return work;
  const waitMs = Math.max(0, leftMs - Math.min(mostMarginMs, leftMs / 4));
  let timer: NodeJS.Timeout | undefined;
  const callerLeaves = new Promise<'under_way'>((resolve) => {
    timer = setTimeout(resolve, waitMs, 'under_way');
  });
  return Promise.race([work, callerLeaves]).finally(() => clearTimeout(timer));
}

function rethrow(error: unknown): never {
  throw asMayflyError(asProviderFailure(error));
}
