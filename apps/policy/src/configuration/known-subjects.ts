/** Refuses to block or revoke what is not there, unless something of it still lives. */
import { MayflyError, type RevocationSubject } from '@mayfly/contracts';
import type { Pool } from 'pg';
import { hasLiveLeases } from '../store/live-leases.ts';
import type { RunningConfiguration } from './running-configuration.ts';
import { unknownSubject } from './unknown-subject.ts';

export interface KnownSubjectsParts {
  readonly running: Pick<RunningConfiguration, 'isLoaded' | 'current' | 'refresh'>;
  readonly pool: Pool;
}

export class KnownSubjects {
  constructor(private readonly parts: KnownSubjectsParts) {}

  /**
   * Throws `invalid_request` for a subject of the organization that neither the configuration nor a live lease knows. What a document has
   * removed can be ended for as long as something of it lives; and without a configuration to compare with, nothing is refused: an end
   * must not wait for one.
   */
  async require(organization: string, subject: RevocationSubject): Promise<void> {
    if (this.#problem(organization, subject) === undefined) return;
    // Another replica may have applied a newer version.
    await this.parts.running.refresh();
    const problem = this.#problem(organization, subject);
    if (problem === undefined) return;
    if (await hasLiveLeases(this.parts.pool, organization, subject)) return;
    const sentence = problem.endsWith('?') ? problem : `${problem}, and nothing that lives is of it.`;
    throw new MayflyError('invalid_request', sentence.slice(0, 500));
  }

  #problem(organization: string, subject: RevocationSubject): string | undefined {
    const { running } = this.parts;
    return running.isLoaded()
      ? unknownSubject(running.current().configuration, organization, subject)
      : undefined;
  }
}
