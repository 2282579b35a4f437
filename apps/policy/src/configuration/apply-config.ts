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
import { requirePlatformAdministrator } from './platform-administrator.ts';
import type { RunningConfiguration } from './running-configuration.ts';

type Output = OutputOf<typeof bus.policy.applyConfig>;

export interface ApplyConfigParts {
  readonly gate: SessionGate;
  readonly running: RunningConfiguration;
  readonly signals: SignalReporter;
  readonly pool: Pool;
  readonly relay: Pick<OutboxRelay, 'nudge'>;
}

export class ApplyConfig {
  constructor(private readonly parts: ApplyConfigParts) {}

  /** Throws `unauthenticated`, `policy_denied`, or `conflict` when another version is running than the expected one. */
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

    const outcome = await storeWithEvent(this.parts.pool, {
      document: input.document,
      appliedBy: session.agentId,
      ...(input.expected_version === undefined ? {} : { expectedVersion: input.expected_version }),
      about: actor,
    });
    if (outcome.outcome === 'conflict') {
      throw new MayflyError('conflict', `The running configuration is version ${outcome.runningVersion}.`);
    }
    this.parts.relay.nudge();
    this.parts.running.takeUp(outcome.stored, parsed.configuration);
    return {
      outcome: 'applied',
      version: outcome.stored.version,
      unchanged: outcome.outcome === 'unchanged',
    };
  }
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
