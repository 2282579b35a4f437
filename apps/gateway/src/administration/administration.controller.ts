/** What administrators and auditors call. Policy decides whether the caller is one; the answering service checks its assertion. */
import { Controller } from '@nestjs/common';
import { bus, http, type InputOf, type OutputOf } from '@mayfly/contracts';
import { BusClient } from '@mayfly/messaging';
import { AuthenticatedCaller, Input, Route, type Caller } from '../http/route.ts';
import { PolicyGate } from '../policy-gate.ts';

const {
  addBlock,
  listBlocks,
  listConfigVersions,
  removeBlock,
  auditLease,
  closeSession,
  getConfig,
  getRevocation,
  listRevocations,
  listSessions,
  putConfig,
  queryAudit,
  revoke,
} = http.administration;

@Controller()
export class AdministrationController {
  constructor(
    private readonly gate: PolicyGate,
    private readonly client: BusClient,
  ) {}

  @Route(revoke)
  async revoke(
    @AuthenticatedCaller() caller: Caller,
    @Input() request: InputOf<typeof revoke>,
  ): Promise<OutputOf<typeof revoke>> {
    const assertion = await this.gate.assertionFor(caller, { action: 'revoke', ...request });
    return this.client.call(bus.revocation.revoke, { assertion });
  }

  @Route(getRevocation)
  async getRevocation(
    @AuthenticatedCaller() caller: Caller,
    @Input() { revocation_id, ...page }: InputOf<typeof getRevocation>,
  ): Promise<OutputOf<typeof getRevocation>> {
    const assertion = await this.gate.assertionFor(caller, { action: 'read_revocation', revocation_id });
    return this.client.call(bus.revocation.getRevocation, { assertion, ...page });
  }

  @Route(listRevocations)
  async listRevocations(
    @AuthenticatedCaller() caller: Caller,
    @Input() page: InputOf<typeof listRevocations>,
  ): Promise<OutputOf<typeof listRevocations>> {
    const assertion = await this.gate.assertionFor(caller, { action: 'list_revocations' });
    return this.client.call(bus.revocation.listRevocations, { assertion, ...page });
  }

  /**
   * The block first, then the fence: what was decided before the block is then stopped, and nothing is decided after it. Policy
   * has ordered the second step with the first, so it happens even if this process dies in between; asked for here, it has
   * happened when the caller is answered.
   */
  @Route(addBlock)
  async addBlock(
    @AuthenticatedCaller() caller: Caller,
    @Input() request: InputOf<typeof addBlock>,
  ): Promise<OutputOf<typeof addBlock>> {
    const { block, assertion } = await this.gate.addBlock(caller, request);
    if (request.revoke)
      return { block, revocation: await this.client.call(bus.revocation.revoke, { assertion }) };
    await this.client.call(bus.revocation.fence, { assertion });
    return { block };
  }

  @Route(removeBlock)
  removeBlock(
    @AuthenticatedCaller() caller: Caller,
    @Input() request: InputOf<typeof removeBlock>,
  ): Promise<OutputOf<typeof removeBlock>> {
    return this.gate.removeBlock(caller, request);
  }

  @Route(listBlocks)
  listBlocks(
    @AuthenticatedCaller() caller: Caller,
    @Input() page: InputOf<typeof listBlocks>,
  ): Promise<OutputOf<typeof listBlocks>> {
    return this.gate.listBlocks(caller, page);
  }

  @Route(listSessions)
  listSessions(
    @AuthenticatedCaller() caller: Caller,
    @Input() page: InputOf<typeof listSessions>,
  ): Promise<OutputOf<typeof listSessions>> {
    return this.gate.listSessions(caller, page);
  }

  /** Policy has ordered the end of the leases with that of the session; asked for here, it has begun when the caller is answered. */
  @Route(closeSession)
  async closeSession(
    @AuthenticatedCaller() caller: Caller,
    @Input() request: InputOf<typeof closeSession>,
  ): Promise<OutputOf<typeof closeSession>> {
    const { session_id, closed, assertion } = await this.gate.closeSession(caller, request);
    const { matched } = await this.client.call(bus.revocation.endSession, { assertion });
    return { session_id, closed, matched };
  }

  @Route(putConfig)
  putConfig(
    @AuthenticatedCaller() caller: Caller,
    @Input() request: InputOf<typeof putConfig>,
  ): Promise<OutputOf<typeof putConfig>> {
    return this.gate.applyConfig(caller, request);
  }

  @Route(getConfig)
  getConfig(
    @AuthenticatedCaller() caller: Caller,
    @Input() request: InputOf<typeof getConfig>,
  ): Promise<OutputOf<typeof getConfig>> {
    return this.gate.getConfig(caller, request);
  }

  @Route(listConfigVersions)
  listConfigVersions(
    @AuthenticatedCaller() caller: Caller,
    @Input() page: InputOf<typeof listConfigVersions>,
  ): Promise<OutputOf<typeof listConfigVersions>> {
    return this.gate.listConfigVersions(caller, page);
  }

  @Route(queryAudit)
  async queryAudit(
    @AuthenticatedCaller() caller: Caller,
    @Input() query: InputOf<typeof queryAudit>,
  ): Promise<OutputOf<typeof queryAudit>> {
    const assertion = await this.gate.assertionFor(caller, { action: 'read_audit' });
    return this.client.call(bus.audit.queryEvents, { assertion, ...query });
  }

  @Route(auditLease)
  async auditLease(
    @AuthenticatedCaller() caller: Caller,
    @Input() { lease_id }: InputOf<typeof auditLease>,
  ): Promise<OutputOf<typeof auditLease>> {
    const assertion = await this.gate.assertionFor(caller, { action: 'read_audit' });
    return this.client.call(bus.audit.leaseTimeline, { assertion, lease_id });
  }
}
