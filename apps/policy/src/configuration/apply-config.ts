/** Applies a configuration document: all of it, or nothing. */
import { MayflyError, type bus, type ConfigProblem, type InputOf, type OutputOf } from '@mayfly/contracts';
import { parseConfiguration, type Configuration } from '@mayfly/configuration';
import { appendToOutbox, type OutboxRelay } from '@mayfly/messaging';
import { inTransaction } from '@mayfly/postgres';
import type { EventData } from '@mayfly/contracts';
import type { Pool } from 'pg';
import { policyEvent, type SignalReporter } from '../reporting/events.ts';
import type { SessionGate } from '../sessions/session-gate.ts';
import { actorOf } from '../sessions/session.ts';
import { storeConfigVersion, type StoreOutcome } from '../store/config-versions.ts';
import type { EndRemovedLeases } from './end-removed-leases.ts';
import { requirePlatformAdministrator } from './platform-administrator.ts';
import type { RunningConfiguration } from './running-configuration.ts';

type Output = OutputOf<typeof bus.policy.applyConfig>;

export interface ApplyConfigParts {
  readonly gate: SessionGate;
  readonly running: RunningConfiguration;
  readonly signals: SignalReporter;
  readonly pool: Pool;
  readonly relay: Pick<OutboxRelay, 'nudge'>;
  readonly removed: EndRemovedLeases;
}

export class ApplyConfig {
  constructor(private readonly parts: ApplyConfigParts) {}

  /**
   * Throws `unauthenticated`, `policy_denied`, or `conflict`: another version is running than the expected one, or leases of what
   * the document removes may still work and it was not said that they shall end.
   */
  async run(input: InputOf<typeof bus.policy.applyConfig>): Promise<Output> {
    const session = await this.parts.gate.liveSession(input.token);
    const actor = { ...actorOf(session), source_ip: input.source_ip };
    await requirePlatformAdministrator(session, 'apply_config', actor, this.parts.signals);

    const parsed = checkDocument(input.document);
    if (parsed.outcome === 'rejected') {
      await this.parts.signals.report('config.rejected', {
        ...actor,
        reason: parsed.problems.map(describe).join('; ') || 'the document is not valid',
        outcome: 'rejected',
      });
      return { outcome: 'rejected', problems: parsed.problems.slice(0, 100) };
    }

    // Whoever expects another version has not seen what is removed.
    const before = this.parts.running.isLoaded() ? this.parts.running.current() : undefined;
    if (
      input.expected_version !== undefined &&
      before !== undefined &&
      input.expected_version !== before.version
    )
      throw otherVersion(before.version);
    const { removed } = this.parts;
    const ended =
      before === undefined
        ? []
        : await removed.before(before.configuration, parsed.configuration, session, input.end_leases);

    const outcome = await storeWithEvent(this.parts.pool, {
      document: input.document,
      appliedBy: session.agentId,
      ...(input.expected_version === undefined ? {} : { expectedVersion: input.expected_version }),
      about: actor,
    });
    if (outcome.outcome === 'conflict') {
      throw otherVersion(outcome.runningVersion);
    }
    this.parts.relay.nudge();
    this.parts.running.takeUp(outcome.stored, parsed.configuration);
    // Once more for what was granted in between. What is missed here ends at its TTL.
    await removed.end(ended, parsed.configuration, session).catch(() => undefined);
    return {
      outcome: 'applied',
      version: outcome.stored.version,
      unchanged: outcome.outcome === 'unchanged',
    };
  }
}

function otherVersion(running: number): MayflyError {
  return new MayflyError('conflict', `The running configuration is version ${running}.`);
}

/**
 * Applies the file of the first start, unless any version is stored: from then on administrators decide. Answers with
 * what is wrong with the document, if anything.
 */
export async function applyFirstDocument(
  pool: Pool,
  document: string,
): Promise<{ outcome: 'applied' | 'superseded' } | { outcome: 'rejected'; problems: ConfigProblem[] }> {
  const parsed = checkDocument(document);
  if (parsed.outcome === 'rejected') return parsed;
  const { outcome } = await storeWithEvent(pool, {
    document,
    appliedBy: 'bootstrap',
    expectedVersion: 0,
    about: {},
  });
  return { outcome: outcome === 'stored' ? 'applied' : 'superseded' };
}

function storeWithEvent(
  pool: Pool,
  wanted: { document: string; appliedBy: string; expectedVersion?: number; about: EventData },
): Promise<StoreOutcome> {
  return inTransaction(pool, async (client) => {
    const outcome = await storeConfigVersion(client, wanted);
    if (outcome.outcome === 'stored') {
      const { version } = outcome.stored;
      const event = policyEvent('config.applied', {
        ...wanted.about,
        config_version: version,
        outcome: 'applied',
        action_context: { applied_by: wanted.appliedBy },
      });
      await appendToOutbox(client, 'policy', [event]);
    }
    return outcome;
  });
}

/** Postgres stores no NUL, and no YAML has one. */
function checkDocument(
  document: string,
): { outcome: 'ok'; configuration: Configuration } | { outcome: 'rejected'; problems: ConfigProblem[] } {
  if (document.includes('\0')) {
    return {
      outcome: 'rejected',
      problems: [{ path: '', message: 'the document contains a NUL character' }],
    };
  }
  return parseConfiguration(document);
}

function describe(problem: ConfigProblem): string {
  return `${problem.path}${problem.line === undefined ? '' : ` (line ${problem.line})`}: ${problem.message}`;
}
