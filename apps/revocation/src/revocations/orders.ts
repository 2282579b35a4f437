/**
 * What policy orders by events, so that it is certain, whoever dies in between: the fence of what it has blocked, the revocation
 * that was asked for with a block, and the revocation of what a configuration document has removed. For a block the gateway asks
 * for the same at once.
 */
import { OrderData, recoveryActor } from '@mayfly/contracts';
import type { Delivery } from '@mayfly/messaging';
import { currentTraceparent } from '@mayfly/telemetry';
import type { Pool } from 'pg';
import { z } from 'zod';
import type { Nudgeable } from '../activation/activate.ts';
import { acceptRevocation, fenceSubject, type AcceptedRevocation } from '../store/revocations.ts';
import { revocationEvent } from './revocation-event.ts';

export interface OrdersOptions {
  readonly pool: Pool;
  readonly gatherer: Nudgeable;
  readonly relay: Nudgeable;
}

export class Orders {
  constructor(private readonly options: OrdersOptions) {}

  /** Safe to repeat and in any order with the gateway's calls. Throws `dependency_unavailable`: then the events come again. */
  async carryOut(deliveries: readonly Pick<Delivery, 'event' | 'reject'>[]): Promise<void> {
    for (const { event, reject } of deliveries) {
      const order = OrderData.safeParse(event.data);
      if (order.success) await this.#carryOut(order.data, event.traceparent ?? currentTraceparent());
      else reject(`the event is no order: ${z.prettifyError(order.error)}`.slice(0, 500));
    }
  }

  async #carryOut(order: OrderData, askedTraceparent: string | undefined): Promise<void> {
    const { pool, gatherer, relay } = this.options;
    const { organization, reason, revocation_id: revocationId } = order;
    const { subject } = order.action_context;
    if (revocationId === undefined) {
      await fenceSubject(pool, organization, subject, reason, false);
      return;
    }
    const revocation: AcceptedRevocation = {
      revocationId,
      organization,
      subject,
      reason,
      // The contract lets only a recovery name nobody.
      askedBy: order.agent_id ?? recoveryActor,
      // Of a subject within one organization, its administrators and auditors follow what becomes of it.
      askedOrganization: organization,
      askedSessionId: order.session_id,
      askedTraceparent,
      forEver: false,
    };
    await acceptRevocation(pool, revocation, revocationEvent('revocation.requested', revocation));
    gatherer.nudge();
    relay.nudge();
  }
}
