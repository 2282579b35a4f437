/**
 * The gateway's way to policy. Tokens travel sealed to policy's key, so the bus never carries one in the clear; what
 * another service is to answer goes there with policy's signed assertion, never with the gateway's word.
 */
import { Injectable } from '@nestjs/common';
import { bus, type AskedAct, type OutputOf, type RawInputOf } from '@mayfly/contracts';
import { BusClient } from '@mayfly/messaging';
import { loadSealingPublicKey, sealTo } from '@mayfly/tokens';
import { Admission } from './admission/admission.ts';
import type { Caller } from './http/route.ts';

type SealedCall<Op> = Omit<RawInputOf<Op>, 'token' | 'source_ip'>;

/** What ends leases is charged apart: an organization whose agents ask for too much can end what they have. */
const vitalActs = new Set<AskedAct['action']>(['end_lease', 'revoke']);

@Injectable()
export class PolicyGate {
  constructor(
    private readonly client: BusClient,
    private readonly admission: Admission,
    /** File with policy's public sealing key. */
    private readonly sealingKeyFile: string,
  ) {}

  /** Seals a token or platform identity to policy. */
  async seal(token: string): Promise<string> {
    return sealTo(await loadSealingPublicKey(this.sealingKeyFile), token);
  }

  decide(
    caller: Caller,
    request: SealedCall<typeof bus.policy.decide>,
  ): Promise<OutputOf<typeof bus.policy.decide>> {
    return this.#charged(caller, (identity) =>
      this.client.call(bus.policy.decide, { ...request, ...identity }),
    );
  }

  decideRenewal(
    caller: Caller,
    request: SealedCall<typeof bus.policy.decideRenewal>,
  ): Promise<OutputOf<typeof bus.policy.decideRenewal>> {
    return this.#charged(caller, (identity) =>
      this.client.call(bus.policy.decideRenewal, { ...request, ...identity }),
    );
  }

  heartbeat(caller: Caller): Promise<OutputOf<typeof bus.policy.heartbeat>> {
    return this.#charged(caller, (identity) => this.client.call(bus.policy.heartbeat, identity), 'vital');
  }

  listCredentials(caller: Caller): Promise<OutputOf<typeof bus.policy.listCredentials>> {
    return this.#charged(caller, (identity) => this.client.call(bus.policy.listCredentials, identity));
  }

  applyConfig(
    caller: Caller,
    request: SealedCall<typeof bus.policy.applyConfig>,
  ): Promise<OutputOf<typeof bus.policy.applyConfig>> {
    return this.#charged(caller, (identity) =>
      this.client.call(bus.policy.applyConfig, { ...request, ...identity }),
    );
  }

  getConfig(
    caller: Caller,
    request: SealedCall<typeof bus.policy.getConfig>,
  ): Promise<OutputOf<typeof bus.policy.getConfig>> {
    return this.#charged(caller, (identity) =>
      this.client.call(bus.policy.getConfig, { ...request, ...identity }),
    );
  }

  listConfigVersions(
    caller: Caller,
    page: SealedCall<typeof bus.policy.listConfigVersions>,
  ): Promise<OutputOf<typeof bus.policy.listConfigVersions>> {
    return this.#charged(caller, (identity) =>
      this.client.call(bus.policy.listConfigVersions, { ...page, ...identity }),
    );
  }

  addBlock(
    caller: Caller,
    request: SealedCall<typeof bus.policy.addBlock>,
  ): Promise<OutputOf<typeof bus.policy.addBlock>> {
    return this.#charged(
      caller,
      (identity) => this.client.call(bus.policy.addBlock, { ...request, ...identity }),
      'vital',
    );
  }

  removeBlock(
    caller: Caller,
    request: SealedCall<typeof bus.policy.removeBlock>,
  ): Promise<OutputOf<typeof bus.policy.removeBlock>> {
    return this.#charged(caller, (identity) =>
      this.client.call(bus.policy.removeBlock, { ...request, ...identity }),
    );
  }

  listBlocks(
    caller: Caller,
    page: SealedCall<typeof bus.policy.listBlocks>,
  ): Promise<OutputOf<typeof bus.policy.listBlocks>> {
    return this.#charged(caller, (identity) =>
      this.client.call(bus.policy.listBlocks, { ...page, ...identity }),
    );
  }

  listSessions(
    caller: Caller,
    page: SealedCall<typeof bus.policy.listSessions>,
  ): Promise<OutputOf<typeof bus.policy.listSessions>> {
    return this.#charged(caller, (identity) =>
      this.client.call(bus.policy.listSessions, { ...page, ...identity }),
    );
  }

  closeSession(
    caller: Caller,
    request: SealedCall<typeof bus.policy.closeSession>,
  ): Promise<OutputOf<typeof bus.policy.closeSession>> {
    return this.#charged(
      caller,
      (identity) => this.client.call(bus.policy.closeSession, { ...request, ...identity }),
      'vital',
    );
  }

  /** Policy's assertion that this caller may do this, for the service that answers. */
  async assertionFor(caller: Caller, act: AskedAct): Promise<string> {
    const { assertion } = await this.#charged(
      caller,
      (identity) => this.client.call(bus.policy.authorize, { ...identity, act }),
      vitalActs.has(act.action) ? 'vital' : 'usual',
    );
    return assertion;
  }

  async #charged<T>(
    caller: Caller,
    call: (identity: { token: string; source_ip: string }) => Promise<T>,
    kind: 'vital' | 'usual' = 'usual',
  ): Promise<T> {
    return this.admission.charged(caller.token, kind, async () =>
      call({ token: await this.seal(caller.token), source_ip: caller.sourceIp }),
    );
  }
}
