/** A document as it was applied: the running one, or an earlier version. */
import { MayflyError, type bus, type InputOf, type OutputOf } from '@mayfly/contracts';
import type { Pool } from 'pg';
import type { SignalReporter } from '../reporting/events.ts';
import type { SessionGate } from '../sessions/session-gate.ts';
import { actorOf } from '../sessions/session.ts';
import { findConfigVersion } from '../store/config-versions.ts';
import { requirePlatformAdministrator } from './platform-administrator.ts';

export interface GetConfigParts {
  readonly gate: SessionGate;
  readonly signals: SignalReporter;
  readonly pool: Pool;
}

export class GetConfig {
  constructor(private readonly parts: GetConfigParts) {}

  /** From Postgres, so that it is the newest whichever replica answers. Throws `unauthenticated`, `policy_denied`, and `not_found` for a version that never was. */
  async run(input: InputOf<typeof bus.policy.getConfig>): Promise<OutputOf<typeof bus.policy.getConfig>> {
    const session = await this.parts.gate.liveSession(input.token);
    const about = { ...actorOf(session), source_ip: input.source_ip };
    await requirePlatformAdministrator(session, 'get_config', about, this.parts.signals);
    const stored = await findConfigVersion(this.parts.pool, input.version);
    if (stored === undefined && input.version !== undefined) {
      throw new MayflyError('not_found', 'No such version of the configuration.');
    }
    if (stored === undefined) return { version: 0, document: '' };
    return {
      version: stored.version,
      document: stored.document,
      applied_at: stored.appliedAt.toISOString(),
      applied_by: stored.appliedBy,
      ...(stored.appliedFrom === undefined ? {} : { applied_from: stored.appliedFrom }),
    };
  }
}
