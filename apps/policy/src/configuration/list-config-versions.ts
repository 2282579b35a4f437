/** The history of the document: who applied which version, when and from where. */
import type { bus, InputOf, OutputOf } from '@mayfly/contracts';
import { actorOf } from '../sessions/session.ts';
import { listConfigVersions } from '../store/config-history.ts';
import type { GetConfigParts } from './get-config.ts';
import { requirePlatformAdministrator } from './platform-administrator.ts';

export class ListConfigVersions {
  constructor(private readonly parts: GetConfigParts) {}

  /** Throws `unauthenticated`, `policy_denied`. */
  async run(
    input: InputOf<typeof bus.policy.listConfigVersions>,
  ): Promise<OutputOf<typeof bus.policy.listConfigVersions>> {
    const session = await this.parts.gate.liveSession(input.token);
    const about = { ...actorOf(session), source_ip: input.source_ip };
    await requirePlatformAdministrator(session, 'list_config_versions', about, this.parts.signals);
    const versions = await listConfigVersions(this.parts.pool, input.before, input.limit);
    const last = versions.length === input.limit ? versions.at(-1) : undefined;
    return { versions, ...(last === undefined || last.version === 1 ? {} : { next: last.version }) };
  }
}
