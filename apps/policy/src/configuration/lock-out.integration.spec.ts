/** Nobody locks themselves out by mistake: a document is tried on the proof of who applies it. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MayflyError } from '@mayfly/contracts';
import { exportJWK, generateKeyPair } from 'jose';
import { findProof, keepProof } from '../store/session-proofs.ts';
import { runPolicy, sourceIp, type RunningPolicy } from '../spec-support/running-policy.ts';
import { analyst, personIn, twoOrganizations } from '../spec-support/two-organizations.ts';
import { ApplyConfig } from './apply-config.ts';

let policy: RunningPolicy;
let administrator: { token: string; sessionId: string };
beforeEach(async () => {
  policy = await runPolicy(twoOrganizations);
  administrator = await policy.open(personIn('platform'));
});
afterEach(() => policy.stop());

const apply = (document: string, options: { lock_me_out?: boolean; dry_run?: boolean } = {}) =>
  policy
    .get(ApplyConfig)
    .run({ token: administrator.token, document, end_leases: false, source_ip: sourceIp, ...options })
    .then(
      (answer) => answer.outcome,
      (error: unknown) => (error instanceof MayflyError ? `${error.code}: ${error.reason}` : String(error)),
    );
const versions = async () => {
  const { rows } = await policy.database.pool.query<{ n: number }>(
    'SELECT count(*)::integer AS n FROM policy.config_versions',
  );
  return rows[0]?.n;
};
const change = (from: string, to: string) => {
  expect(policy.document).toContain(from);
  return policy.document.replace(from, to);
};
/** The rule for people, with one of its lines otherwise. */
const people = (from: string, to: string) => {
  const at = policy.document.indexOf('- name: people');
  expect(policy.document.indexOf(from, at)).toBeGreaterThanOrEqual(at);
  return policy.document.slice(0, at) + policy.document.slice(at).replace(from, to);
};

describe('a document that no longer admits who applies it', () => {
  const cases: [string, () => string, RegExp][] = [
    ['another issuer', () => people('https://issuer.example', 'https://other.example'), /issuer/],
    ['another audience', () => people('audience: mayfly', 'audience: elsewhere'), /audience/],
    ['another requirement', () => people('kind: person', 'kind: people'), /people requires kind/],
    [
      'a group that is spelled otherwise',
      () => people('platform: platform_', 'Platform: platform_'),
      /without the role/,
    ],
    [
      'another role for the group',
      () => people('platform: platform_administrator', 'platform: auditor'),
      /without the role/,
    ],
    ['another claim for the user', () => people('claim: email', 'claim: mail'), /the claim for the user/],
    ['another algorithm', () => people('jwks:', 'algorithms: [ES256]\n    jwks:'), /algorithm/],
    [
      'a rule before it that fits too',
      () => people('- name: people', earlier()),
      /"earlier" would admit you without/,
    ],
    ['a key set that is not there', () => people(keySet(), 'file:/nonexistent.json'), /cannot be fetched/],
  ];
  const keySet = () => /jwks: (file:\S+)/.exec(policy.document)?.[1] ?? '';
  const earlier = () => `- name: earlier
    organization: acme
    issuer: https://issuer.example
    audience: mayfly
    jwks: ${keySet()}
    require: { org: acme, email: ann@acme.example }
    as: person
    user: { claim: email }
  - name: people`;

  it.each(cases)('is refused, and told why: %s', async (_what, document, why) => {
    const refused = await apply(document());
    expect(refused).toMatch(/^conflict: .*lock_me_out/);
    expect(refused).toMatch(why);
    expect(await versions()).toBe(1);
    expect(await apply(document(), { dry_run: true })).toBe('would_apply');
    expect(await versions()).toBe(1);
    expect(await apply(document(), { lock_me_out: true })).toBe('applied');
    const told = (await policy.outbox()).filter(({ data }) => data.config_version === 2);
    expect(told[0]?.data.action_context).toMatchObject({ locked_out: expect.stringMatching(why) });
    expect(await versions()).toBe(2);
  });

  it('is refused when another key set has not the key of the proof, and applied when it has', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'mayfly-lock-out-'));
    try {
      const { publicKey } = await generateKeyPair('EdDSA');
      const other = { ...(await exportJWK(publicKey)), kid: 'key-2' };
      const own = JSON.parse(await readFile(keySet().replace('file:', ''), 'utf8')) as { keys: object[] };
      await writeFile(join(folder, 'other'), JSON.stringify({ keys: [other] }));
      await writeFile(join(folder, 'both'), JSON.stringify({ keys: [other, ...own.keys] }));
      expect(await apply(people(keySet(), `file:${folder}/other`))).toMatch(/^conflict: .*has the key/);
      expect(await apply(people(keySet(), `file:${folder}/both`))).toBe('applied');
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('a document that still admits who applies it', () => {
  it.each<[string, () => string]>([
    ['by another rule', () => people('- name: people', '- name: staff')],
    ['by another claim', () => people('claim: groups', 'claim: [groups]')],
    ['with more required', () => people('kind: person', 'email: ann@acme.example, kind: person')],
    ['and asks for a recipient key', () => people('user:', 'require_recipient_key: true\n    user:')],
    ['and changes nothing of trust', () => change('roles: [analyst]', 'roles: [writer]')],
  ])('is applied: %s', async (_what, document) => {
    expect(await apply(document())).toBe('applied');
  });
});

describe('the proof of a session', () => {
  it('is kept for platform administrators alone, without the token', async () => {
    const proof = await findProof(policy.database.pool, administrator.sessionId);
    expect(proof).toMatchObject({
      claims: { email: 'ann@acme.example', iss: 'https://issuer.example' },
      key: { alg: 'EdDSA', kid: 'key-1' },
    });
    const { rows } = await policy.database.pool.query<{ proof: string }>(
      'SELECT proof::text FROM policy.sessions',
    );
    expect(rows.map(({ proof }) => proof).join()).not.toMatch(/eyJ/);
    for (const claims of [analyst, personIn('admins', 'auditors')]) {
      const { sessionId } = await policy.open(claims);
      expect(await findProof(policy.database.pool, sessionId)).toBeUndefined();
    }
  });

  it('is stored whatever an issuer writes into claims', async () => {
    const claims = { odd: '\0', half: '\ud800x', whole: '😀', slash: '\\u0000', 'k\0': 1, both: '\\\0' };
    const key = { alg: 'EdDSA' };
    await keepProof(policy.database.pool, administrator.sessionId, { claims, key, jwks: { file: '/x' } });
    const proof = await findProof(policy.database.pool, administrator.sessionId);
    expect(proof?.claims).toEqual({
      odd: '\ufffd',
      half: '\ufffdx',
      whole: '😀',
      slash: '\\u0000',
      'k\ufffd': 1,
      both: '\\\ufffd',
    });
  });

  it('that is not known locks out, until a session is opened anew', async () => {
    await policy.database.pool.query('UPDATE policy.sessions SET proof = NULL');
    const document = change('roles: [analyst]', 'roles: [writer]');
    expect(await apply(document)).toMatch(/^conflict: .*open another/);
    administrator = await policy.open(personIn('platform'));
    expect(await apply(document)).toBe('applied');
  });
});
