/** Applies a configuration document: all of it, or nothing. */
import { MayflyError, type bus, type ConfigProblem, type InputOf, type OutputOf } from '@mayfly/contracts';
import { parseConfiguration, type Configuration } from '@mayfly/configuration';
import type { OutboxRelay } from '@mayfly/messaging';
import { inTransaction } from '@mayfly/postgres';
import type { Pool } from 'pg';
import type { SignalReporter } from '../reporting/events.ts';
import type { SessionGate } from '../sessions/session-gate.ts';
import type { SessionLeases } from '../sessions/session-leases.ts';
import { actorOf } from '../sessions/session.ts';
import { lockConfigVersions } from '../store/config-versions.ts';
import { findProof } from '../store/session-proofs.ts';
import { DocumentStore, storeWithEvent } from './document-store.ts';
import { lockOutBy, type KeyJudge } from './lock-out.ts';
import { requirePlatformAdministrator } from './platform-administrator.ts';
import { previewOf } from './preview-config.ts';
import type { RunningConfiguration } from './running-configuration.ts';

type Output = OutputOf<typeof bus.policy.applyConfig>;

export interface ApplyConfigParts {
  readonly gate: SessionGate;
  readonly running: RunningConfiguration;
  readonly signals: SignalReporter;
  readonly pool: Pool;
  readonly relay: Pick<OutboxRelay, 'nudge'>;
  readonly leases: Pick<SessionLeases, 'end'>;
  readonly keys: KeyJudge;
}

/** Most revocations that the answer names; the events order them all. */
const namedAtMost = 100;

export class ApplyConfig {
  readonly #store: DocumentStore;

  constructor(private readonly parts: ApplyConfigParts) {
    this.#store = new DocumentStore(parts);
  }

  /**
   * Stores the document together with the ends of the sessions that it no longer admits and the orders to revoke what it removes, or
   * nothing at all; nobody is waited for. With `dry_run` it only tells what it would change. Throws `unauthenticated`, `policy_denied`,
   * or `conflict`: another version is running than the expected one, the document no longer admits who applies it, or leases of what it
   * removes may still work, and it was not said that this is meant.
   */
  async run(input: InputOf<typeof bus.policy.applyConfig>): Promise<Output> {
    const session = await this.parts.gate.liveSession(input.token);
    const actor = { ...actorOf(session), source_ip: input.source_ip };
    await requirePlatformAdministrator(session, 'apply_config', actor, this.parts.signals);

    const parsed = checkDocument(input.document);
    if (parsed.outcome === 'rejected') {
      if (input.dry_run === true) return { outcome: 'rejected', problems: parsed.problems.slice(0, 100) };
      await this.parts.signals.report('config.rejected', {
        ...actor,
        reason: parsed.problems.map(describe).join('; ') || 'the document is not valid',
        outcome: 'rejected',
      });
      return { outcome: 'rejected', problems: parsed.problems.slice(0, 100) };
    }

    // Before anything is locked: the keys of an issuer may have to be fetched.
    const proof = await findProof(this.parts.pool, session.id);
    const lockedOut = await lockOutBy(parsed.configuration, proof, this.parts.keys);
    if (input.dry_run === true) return previewOf(this.parts, input, parsed.configuration, lockedOut);
    if (lockedOut !== undefined && input.lock_me_out !== true) {
      throw new MayflyError(
        'conflict',
        `This document would lock you out (lock_me_out applies it all the same): ${lockedOut}`.slice(0, 500),
      );
    }

    const about = {
      ...actor,
      ...(lockedOut === undefined ? {} : { action_context: { locked_out: lockedOut } }),
    };
    const applier = { by: session.agentId, session, from: input.source_ip, about };
    const { outcome, orders, ended } = await this.#store.store(input, parsed.configuration, applier);
    this.parts.relay.nudge();
    this.parts.running.takeUp(outcome.stored, parsed.configuration);
    await this.parts.leases.end(ended);
    return {
      outcome: 'applied',
      version: outcome.stored.version,
      unchanged: outcome.outcome === 'unchanged',
      revocations: orders.slice(0, namedAtMost),
      revocations_total: orders.length,
      sessions_ended: ended.length,
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
  path: string,
): Promise<{ outcome: 'applied' | 'superseded' } | { outcome: 'rejected'; problems: ConfigProblem[] }> {
  const parsed = checkDocument(document);
  if (parsed.outcome === 'rejected') return parsed;
  const { outcome } = await inTransaction(pool, async (client) => {
    await lockConfigVersions(client);
    const organizations = [...parsed.configuration.organizations.values()];
    return storeWithEvent(client, {
      document,
      organizations,
      appliedBy: 'bootstrap',
      appliedFrom: path,
      expectedVersion: 0,
      about: {},
    });
  });
  return { outcome: outcome === 'stored' ? 'applied' : 'superseded' };
}

/** Postgres stores no NUL, and no YAML has one. */
export function checkDocument(
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
