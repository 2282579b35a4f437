/** What agents call: credentials to ask for, leases to get, look at, use and give back. */
import { Controller, Headers, Inject, Req, Res } from '@nestjs/common';
import {
  bus,
  errorTable,
  http,
  MayflyError,
  type InputOf,
  type IssuedLease,
  type OutputOf,
} from '@mayfly/contracts';
import { BusClient } from '@mayfly/messaging';
import { METRICS } from '@mayfly/service';
import { issuanceDuration, issuances, unknownCredential, type IssuanceLabel } from '@mayfly/telemetry';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Registry } from 'prom-client';
import { AuthenticatedCaller, Input, Route, type Caller } from '../http/route.ts';
import { PolicyGate } from '../policy-gate.ts';
import { IssueLease } from './issue-lease.ts';
import { RenewLease } from './renew-lease.ts';

const { createLease, deleteLease, getLease, listCredentials, listLeases, renewLease, reportUse } =
  http.leases;

/** The labels of the metrics of issuance. */
export const ISSUANCE_LABELS = Symbol('mayfly:issuance-labels');

/** Refusals that policy gives only for a credential it knows; only those may be named in a metric. */
const refusalsOfKnown = new Set([
  'policy_denied',
  'scope_exceeded',
  'ttl_exceeded',
  'limit_exceeded',
  'provider_rejected',
  'provider_unavailable',
]);

@Controller()
export class LeasesController {
  private readonly issuances: ReturnType<typeof issuances>;
  private readonly duration: ReturnType<typeof issuanceDuration>;

  constructor(
    private readonly gate: PolicyGate,
    private readonly client: BusClient,
    private readonly issueLease: IssueLease,
    private readonly renewLease: RenewLease,
    @Inject(METRICS) metrics: Registry,
    @Inject(ISSUANCE_LABELS) private readonly labels: readonly IssuanceLabel[],
  ) {
    this.issuances = issuances(metrics, labels);
    this.duration = issuanceDuration(metrics, labels);
  }

  @Route(listCredentials)
  listCredentials(@AuthenticatedCaller() caller: Caller): Promise<OutputOf<typeof listCredentials>> {
    return this.gate.listCredentials(caller);
  }

  @Route(createLease)
  async create(
    @AuthenticatedCaller() caller: Caller,
    @Input() request: InputOf<typeof createLease>,
    @Headers('idempotency-key') idempotencyKey: string | undefined,
    @Req() incoming: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<IssuedLease> {
    const started = performance.now();
    const observe = (credential: string, outcome: string) => {
      const told = this.labels.includes('credential') ? { credential, outcome } : { outcome };
      this.issuances.inc(told);
      this.duration.observe(told, (performance.now() - started) / 1000);
    };
    try {
      const isGone = () => incoming.raw.socket.destroyed;
      const { giveBack, ...lease } = await this.issueLease.execute(
        caller,
        request,
        readIdempotencyKey(idempotencyKey),
        isGone,
      );
      // Gone while the answer is written: nobody holds the secret, so the lease ends.
      reply.raw.once('close', () => {
        if (!reply.raw.writableFinished) giveBack();
      });
      observe(lease.credential, 'issued');
      return lease;
    } catch (error) {
      const code = error instanceof MayflyError ? error.code : 'internal';
      observe(
        refusalsOfKnown.has(code) ? request.credential : unknownCredential,
        code in errorTable ? code : 'internal',
      );
      throw error;
    }
  }

  @Route(listLeases)
  async list(
    @AuthenticatedCaller() caller: Caller,
    @Input() query: InputOf<typeof listLeases>,
  ): Promise<OutputOf<typeof listLeases>> {
    const assertion = await this.gate.assertionFor(caller, { action: 'list_leases' });
    return this.client.call(bus.revocation.listLeases, { assertion, ...query });
  }

  @Route(getLease)
  async get(
    @AuthenticatedCaller() caller: Caller,
    @Input() { lease_id }: InputOf<typeof getLease>,
  ): Promise<OutputOf<typeof getLease>> {
    const assertion = await this.gate.assertionFor(caller, { action: 'read_lease', lease_id });
    return this.client.call(bus.revocation.getLease, { assertion });
  }

  @Route(renewLease)
  async renew(
    @AuthenticatedCaller() caller: Caller,
    @Input() request: InputOf<typeof renewLease>,
    @Req() incoming: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<OutputOf<typeof renewLease>> {
    const isGone = () => incoming.raw.socket.destroyed;
    const { giveBack, ...lease } = await this.renewLease.execute(caller, request, isGone);
    if (giveBack !== undefined) {
      reply.status(renewLease.http.alsoStatus ?? renewLease.http.status);
      reply.raw.once('close', () => {
        if (!reply.raw.writableFinished) giveBack();
      });
    }
    return lease;
  }

  @Route(reportUse)
  async reportUse(
    @AuthenticatedCaller() caller: Caller,
    @Input() { lease_id, ...use }: InputOf<typeof reportUse>,
  ): Promise<OutputOf<typeof reportUse>> {
    const assertion = await this.gate.assertionFor(caller, { action: 'report_use', lease_id });
    return this.client.call(bus.revocation.reportUse, { assertion, ...use });
  }

  @Route(deleteLease)
  async giveBack(
    @AuthenticatedCaller() caller: Caller,
    @Input() { lease_id }: InputOf<typeof deleteLease>,
  ): Promise<OutputOf<typeof deleteLease>> {
    const assertion = await this.gate.assertionFor(caller, {
      action: 'end_lease',
      lease_id,
      reason: 'given back',
    });
    return this.client.call(bus.revocation.endLease, { assertion });
  }
}

/** `Idempotency-Key` (IETF draft-ietf-httpapi-idempotency-key-header): 1 to 255 printable characters. */
function readIdempotencyKey(value: string | undefined): string | undefined {
  if (value === undefined) return undefined;
  if (!/^[\x21-\x7E]{1,255}$/.test(value)) {
    throw new MayflyError(
      'invalid_request',
      'Idempotency-Key must be 1 to 255 printable characters without spaces',
    );
  }
  return value;
}
