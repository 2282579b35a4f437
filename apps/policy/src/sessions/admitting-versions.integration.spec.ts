/** What can't be read at this moment is not taken for what can't be read in this release. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { parseConfiguration } from '@mayfly/configuration';
import { MayflyError } from '@mayfly/contracts';
import { runPolicy, type RunningPolicy } from '../spec-support/running-policy.ts';
import { analyst, twoOrganizations } from '../spec-support/two-organizations.ts';
import { admittingVersions, countGroundless, UnknownAdmission } from './withdraw-sessions.ts';

let policy: RunningPolicy;
beforeEach(async () => {
  policy = await runPolicy(twoOrganizations);
  await policy.open(analyst);
  await policy.database.pool.query(
    `INSERT INTO policy.config_versions (version, document, sha256, applied_at, applied_by, sessions_kept)
     VALUES (2, $1, 'x', now(), 'recovery', true)`,
    [policy.document],
  );
});
afterEach(() => policy.stop());

const failing = (code: 'dependency_unavailable' | 'internal') => ({
  versionOf: () => Promise.reject(new MayflyError(code, 'away')),
});
const running = () => {
  const parsed = parseConfiguration(policy.document);
  if (parsed.outcome !== 'ok') throw new Error('the document is not valid');
  return parsed.configuration;
};
const count = (admitting: ReadonlyMap<number, undefined>) =>
  countGroundless(policy.database.pool, { before: running(), after: running(), admitting });

describe('the version that admitted a session', () => {
  it('is not judged without when Postgres fails to give it', async () => {
    const read = admittingVersions(policy.database.pool, failing('dependency_unavailable'), running());
    await expect(read).rejects.toMatchObject({ code: 'dependency_unavailable' });
  });

  it('ends its session when this release can not read it', async () => {
    const read = await admittingVersions(policy.database.pool, failing('internal'), running());
    expect([...read]).toEqual([[1, undefined]]);
    expect(await count(new Map([[1, undefined]]))).toBe(1);
  });

  it('is read anew when another was stored meanwhile', async () => {
    await expect(count(new Map())).rejects.toBeInstanceOf(UnknownAdmission);
  });
});
