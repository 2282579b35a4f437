/** An administrator who is removed while an act of theirs is under way does not complete it. */
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MayflyError } from '@mayfly/contracts';
import { parseConfiguration } from '@mayfly/configuration';
import { withDeadline } from '@mayfly/messaging';
import { Blocks } from '../blocks/blocks.ts';
import { ApplyConfig } from '../configuration/apply-config.ts';
import { lockOutBy } from '../configuration/lock-out.ts';
import { findProof } from '../store/session-proofs.ts';
import { runPolicy, sourceIp, type RunningPolicy } from '../spec-support/running-policy.ts';
import { analyst, personIn, twoOrganizations } from '../spec-support/two-organizations.ts';
import { AdministerSessions } from './administer-sessions.ts';

let policy: RunningPolicy;
let administrator: { token: string; sessionId: string };
beforeEach(async () => {
  policy = await runPolicy(twoOrganizations);
  administrator = await policy.open(personIn('platform', 'admins'));
});
afterEach(() => policy.stop());

const outcome = (attempt: Promise<unknown>) =>
  attempt.then(
    () => 'ok',
    (error: unknown) => (error instanceof MayflyError ? error.code : String(error)),
  );
const asker = () => ({ token: administrator.token, source_ip: sourceIp });
const apply = () =>
  policy.get(ApplyConfig).run({ ...asker(), document: `${policy.document}# next\n`, end_leases: false });
const block = (subject: { kind: 'user'; id: string } | { kind: 'credential'; id: string }) =>
  policy.get(Blocks).add({ ...asker(), subject, reason: 'strange', revoke: false });

/** Somebody waits for a lock: looked at again and again, since nothing tells it. */
async function somebodyWaits(): Promise<void> {
  const end = performance.now() + 10_000;
  while (performance.now() < end) {
    const { rows } = await policy.database.pool.query(
      "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    );
    if (rows.length > 0) return;
  }
}

describe('an administrator whose session ends after it was looked at', () => {
  const acts: [string, () => Promise<() => Promise<unknown>>][] = [
    ['applies no document', async () => () => apply()],
    ['blocks no user', async () => () => block({ kind: 'user', id: 'bob@acme.example' })],
    ['blocks no credential', async () => () => block({ kind: 'credential', id: 'tool/read' })],
    [
      'removes no block',
      async () => {
        const { block: made } = await block({ kind: 'user', id: 'bob@acme.example' });
        return () => policy.get(Blocks).remove({ ...asker(), block_id: made.block_id });
      },
    ],
    [
      'closes no session',
      async () => {
        const { sessionId } = await policy.open(analyst);
        return () =>
          policy.get(AdministerSessions).close({ ...asker(), session_id: sessionId, reason: 'strange' });
      },
    ],
  ];
  it.each(acts)('%s', async (_what, prepare) => {
    const act = await prepare();
    const before = (await policy.outbox()).length;
    const client = await policy.database.pool.connect();
    try {
      await client.query('BEGIN');
      await client.query(
        "UPDATE policy.sessions SET ended_at = now(), end_reason = 'dismissed' WHERE id = $1",
        [administrator.sessionId],
      );
      const acted = outcome(act());
      await Promise.race([acted, somebodyWaits()]);
      await client.query('COMMIT');
      expect(await acted).toBe('unauthenticated');
    } finally {
      client.release();
    }
    expect(await policy.outbox()).toHaveLength(before);
  });
});

describe('a document', () => {
  it('is not stored when its time was over before', async () => {
    expect(await outcome(withDeadline(0, apply))).toBe('dependency_unavailable');
    const { rows } = await policy.database.pool.query('SELECT FROM policy.config_versions');
    expect(rows).toHaveLength(1);
  });

  it('has few key sets asked for, however many it names', async () => {
    const proof = await findProof(policy.database.pool, administrator.sessionId);
    const parsed = parseConfiguration(policy.document);
    if (parsed.outcome !== 'ok') throw new Error('the document is not valid');
    const { configuration } = parsed;
    const [people] = configuration.trust.filter(({ name }) => name === 'people');
    if (people === undefined) throw new Error('the document has no such rule');
    const trust = Array.from({ length: 999 }, () => ({ ...people, jwks: { file: `/${randomUUID()}` } }));
    let asked = 0;
    const keys = {
      accepts: () => true,
      mayVerify: () => {
        asked++;
        return Promise.reject(new MayflyError('dependency_unavailable', 'away'));
      },
    };
    expect(await lockOutBy({ ...configuration, trust }, proof, keys)).toMatch(/people/);
    expect(asked).toBe(8);
  });
});
