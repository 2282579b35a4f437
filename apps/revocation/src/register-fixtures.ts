/** For the specs of this service alone: a register on a database of its own, grants and assertions, and a bus that answers for minting and policy. */
import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  bus,
  MayflyError,
  type Act,
  type BusOperation,
  type GrantClaims,
  type InputOf,
  type MayflyEvent,
  type OutputOf,
  type RenewalClaims,
} from '@mayfly/contracts';
import { migrate, quoteName } from '@mayfly/postgres';
import {
  tokenKinds,
  TokenSigner,
  TokenVerifier,
  type PublicSignatureJwk,
  type SigningKeys,
  type SignOptions,
} from '@mayfly/tokens';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { Register } from './register.ts';
import { migrationsDirectory, schema } from './revocation.module.ts';
import { RevocationSettings } from './settings.ts';

export interface TestDatabase {
  readonly url: string;
  readonly pool: pg.Pool;
  drop(): Promise<void>;
}

/** A migrated database of its own. */
export async function testDatabase(): Promise<TestDatabase> {
  const adminUrl = process.env['MAYFLY_TEST_POSTGRES_URL'] ?? '';
  const name = `revocation_${randomBytes(6).toString('hex')}`;
  const url = new URL(adminUrl);
  url.pathname = `/${name}`;
  await asAdmin(adminUrl, `CREATE DATABASE ${quoteName(name)}`);
  await migrate({ connectionString: url.href, schema, directory: migrationsDirectory });
  const pool = new pg.Pool({ connectionString: url.href, max: 20 });
  pool.on('error', () => undefined);
  return {
    url: url.href,
    pool,
    drop: async () => {
      await pool.end();
      await asAdmin(adminUrl, `DROP DATABASE ${quoteName(name)} WITH (FORCE)`);
    },
  };
}

async function asAdmin(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

/** An Ed25519 key in memory. */
export function testKeys(kid: string): SigningKeys {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const key = { kid, algorithm: 'EdDSA' as const };
  return {
    signing: () => Promise.resolve({ ...key, key: privateKey }),
    find: (wanted) => Promise.resolve(wanted === kid ? { ...key, key: publicKey } : undefined),
    publicJwks: () =>
      Promise.resolve({
        keys: [
          {
            ...publicKey.export({ format: 'jwk' }),
            kid,
            alg: 'EdDSA',
            use: 'sig',
          } as unknown as PublicSignatureJwk,
        ],
      }),
  };
}

type RenewInput = InputOf<typeof bus.minting.renewAtProvider>;
type RevokeInput = InputOf<typeof bus.minting.revokeAtProvider>;

/** Answers for minting and policy, and keeps what it was asked. */
export class FakeBus {
  readonly revoked: string[] = [];
  readonly reconciled: string[] = [];
  readonly renewed: RenewInput[] = [];
  /** What minting does with a renewal. */
  onRenew: (input: RenewInput) => Promise<OutputOf<typeof bus.minting.renewAtProvider>> = (input) =>
    Promise.resolve({
      native_expires_at: new Date(Date.now() + input.ttl_seconds * 1000).toISOString(),
    });
  /** What minting does with a revocation. */
  onRevoke: (input: RevokeInput) => Promise<'revoked' | 'access_ended' | 'under_way'> = () =>
    Promise.resolve('revoked');
  readonly cleanedUp: string[] = [];
  /** What minting does with a clean-up. */
  onCleanUp: (leaseId: string) => Promise<void> = () => Promise.resolve();
  onOrder: () => Promise<void> = () => Promise.resolve();
  reconcileOutcome: 'removed' | 'access_ended' | 'absent' | 'unreachable' = 'removed';
  onReconcile: () => Promise<void> = () => Promise.resolve();
  onInspect: (leaseId: string) => Promise<void> = () => Promise.resolve();
  /** What a comparison finds upstream: lease ids that end with `mark`. */
  readonly upstream = new Set<string>();
  mark = 'abcdef0123';
  listedAtOnce = 2;
  running = 0;
  mostRunning = 0;

  async call<Op extends BusOperation>(operation: Op, input: unknown): Promise<OutputOf<Op>> {
    return (await this.#answer(operation.name, input)) as OutputOf<Op>;
  }

  async #answer(name: string, input: unknown): Promise<unknown> {
    switch (name) {
      case bus.minting.revokeAtProvider.name: {
        const asked = input as RevokeInput;
        this.revoked.push(asked.lease_id);
        this.running++;
        this.mostRunning = Math.max(this.mostRunning, this.running);
        try {
          return { outcome: await this.onRevoke(asked) };
        } finally {
          this.running--;
        }
      }
      case bus.minting.cleanUpAtProvider.name: {
        const asked = input as RevokeInput;
        this.cleanedUp.push(asked.lease_id);
        await this.onCleanUp(asked.lease_id);
        return { outcome: 'done' };
      }
      case bus.minting.renewAtProvider.name: {
        const asked = input as RenewInput;
        this.renewed.push(asked);
        return this.onRenew(asked);
      }
      case bus.policy.orderReconciliation.name:
        await this.onOrder();
        return {
          order: `o.${Buffer.from((input as { lease_id: string }).lease_id).toString('base64url')}.s`,
        };
      case bus.policy.orderSweeps.name: {
        const place = { organization, integration: 'orders-db', provider: 'postgres' };
        return { config_version: 7, sweeps: [{ ...place, mark: this.mark, order: 'o.c3dlZXA.s' }] };
      }
      case bus.minting.listAtProvider.name: {
        const { after = '' } = input as { after?: string };
        const following = [...this.upstream].sort().filter((id) => id > after);
        const lease_ids = following.slice(0, this.listedAtOnce);
        return { outcome: 'listed', lease_ids, more: following.length > this.listedAtOnce };
      }
      case bus.minting.inspectAtProvider.name: {
        const { lease_id } = input as { lease_id: string };
        await this.onInspect(lease_id);
        return { outcome: this.upstream.has(lease_id) ? 'present' : 'absent' };
      }
      case bus.minting.reconcileAtProvider.name: {
        const [, lease = ''] = (input as { order: string }).order.split('.');
        this.reconciled.push(Buffer.from(lease, 'base64url').toString());
        await this.onReconcile();
        this.upstream.delete(Buffer.from(lease, 'base64url').toString());
        return {
          outcome: this.reconcileOutcome,
          ...(this.reconcileOutcome === 'access_ended' && { handle }),
        };
      }
      default:
        throw new MayflyError('dependency_unavailable', `nobody answers ${name}`);
    }
  }
}

export const handle = 'aaaa.bbbb.cccc.dddd.eeee';
export const organization = 'acme';

export function agentId(name: string): string {
  return `spiffe://acme.test/agent/ci/build/${name}`;
}

/** A new traceparent. */
export function traceparent(): string {
  return `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`;
}

export type GrantChanges = Partial<Omit<GrantClaims, 'actor'>> & { actor?: Partial<GrantClaims['actor']> };

/** Claims of a grant for a new lease. */
export function grantClaims({ actor, ...changes }: GrantChanges = {}): GrantClaims {
  return {
    jti: uuidv7(),
    actor: {
      organization,
      session_id: randomUUID(),
      agent_id: agentId('one'),
      agent_role: 'ci',
      user: 'ann@acme.test',
      task: 'build',
      ...actor,
    },
    source_ip: '203.0.113.7',
    credential: 'orders-db/readonly',
    provider: 'postgres',
    integration: { name: 'orders-db', settings: {}, secret_references: [] },
    settings: {},
    bounds: {},
    scope: { privileges: ['SELECT'] },
    ttl_seconds: 60,
    session_expires_at: new Date(Date.now() + 3_600_000).toISOString(),
    renewal: { kind: 'in_place', max_life_seconds: 3600, max_count: 3, grace_seconds: 30 },
    recipient_key: { kty: 'OKP', crv: 'X25519', x: 'A'.repeat(43) },
    recipient: 'session',
    granted_at: new Date().toISOString(),
    policy_ids: ['p1'],
    config_version: 3,
    ...changes,
  };
}

export type RenewalChanges = Partial<Omit<RenewalClaims, 'actor'>> & {
  lease_id: string;
  actor: Partial<RenewalClaims['actor']>;
};

/** Claims of a renewal by `ttl_seconds` from now. */
export function renewalClaims({ actor, ...changes }: RenewalChanges): RenewalClaims {
  const { ttl_seconds = 120 } = changes;
  const by = { organization, session_id: randomUUID(), agent_id: agentId('one'), ...actor };
  return {
    jti: uuidv7(),
    granted_at: new Date().toISOString(),
    actor: by,
    asker: { session_id: by.session_id },
    source_ip: '203.0.113.7',
    credential: 'orders-db/readonly',
    provider: 'postgres',
    integration: 'orders-db',
    ttl_seconds,
    expires_at: new Date(Date.now() + ttl_seconds * 1000).toISOString(),
    limit: 'ttl',
    max_life_seconds: 3600,
    max_count: 3,
    policy_ids: ['p1'],
    config_version: 3,
    ...changes,
  };
}

type ActivateInput = InputOf<typeof bus.revocation.activate>;

/** Told of each named statement of a replica's pool that Postgres has carried out; what it throws is what the replica learns. */
export type OnAnswer = (statement: string, answer: pg.QueryResult) => void;

/** The same pool, but for what becomes of its answers. */
function losing(pool: pg.Pool, onAnswer: OnAnswer): pg.Pool {
  const query = async (asked: pg.QueryConfig) => {
    const answer = await pool.query(asked);
    onAnswer(asked.name ?? '', answer);
    return answer;
  };
  return { query, connect: () => pool.connect() } as unknown as pg.Pool;
}

export interface World {
  readonly database: TestDatabase;
  readonly bus: FakeBus;
  readonly signals: MayflyEvent[];
  readonly keys: { readonly grants: SigningKeys; readonly assertions: SigningKeys };
  /** Another replica on the same database. `settings` are environment variables. */
  replica(
    settings?: Record<string, string>,
    client?: FakeBus,
    onFailure?: (provider: string) => void,
    onAnswer?: OnAnswer,
  ): Register;
  sign(claims: GrantClaims, options?: Partial<SignOptions>): Promise<string>;
  /** A renewal grant for a lease that was issued with `grantClaims()`, unless told otherwise. */
  signRenewal(changes: RenewalChanges, options?: Partial<SignOptions>): Promise<string>;
  assert(
    act: Act,
    asker?: {
      agentId?: string;
      sessionId?: string;
      administrator?: boolean;
      platformAdministrator?: boolean;
      organization?: string;
    },
  ): Promise<string>;
  /** Activates a new lease with this register and answers its id. */
  issue(register: Register, changes?: GrantChanges, input?: Partial<ActivateInput>): Promise<string>;
  /** Types of the outbox' events about a lease, in order. */
  eventsOf(leaseId: string): Promise<string[]>;
  outbox(): Promise<MayflyEvent[]>;
  row(leaseId: string): Promise<Record<string, unknown> | undefined>;
  close(): Promise<void>;
}

export async function openWorld(): Promise<World> {
  const database = await testDatabase();
  const grantKeys = testKeys('grants');
  const assertionKeys = testKeys('assertions');
  const grantSigner = new TokenSigner(tokenKinds.grant, grantKeys);
  const assertionSigner = new TokenSigner(tokenKinds.assertion, assertionKeys);
  const renewalSigner = new TokenSigner(tokenKinds.renewal, grantKeys);
  const client = new FakeBus();
  const signals: MayflyEvent[] = [];
  const started: Register[] = [];
  const nowhere = { nudge: () => undefined };
  const silent = { debug: () => undefined, warn: () => undefined, error: () => undefined };
  const sign: World['sign'] = (claims, options) => {
    const now = options?.now ?? new Date();
    return grantSigner.sign({ ...claims, granted_at: now.toISOString() }, { ...options, now });
  };

  const outbox: World['outbox'] = async () => {
    const { rows } = await database.pool.query<{ event: string }>(
      'SELECT event FROM revocation.outbox ORDER BY sequence',
    );
    return rows.map((row) => JSON.parse(row.event) as MayflyEvent);
  };

  return {
    database,
    bus: client,
    signals,
    keys: { grants: grantKeys, assertions: assertionKeys },
    replica(settings = {}, answering = client, onFailure = () => undefined, onAnswer) {
      const register = new Register({
        pool: onAnswer === undefined ? database.pool : losing(database.pool, onAnswer),
        client: answering,
        publisher: {
          signal: (event) => {
            signals.push(event);
            return Promise.resolve();
          },
        },
        relay: nowhere,
        logger: silent,
        grants: new TokenVerifier(tokenKinds.grant, grantKeys, { audience: 'mayfly-revocation' }),
        renewalGrants: new TokenVerifier(tokenKinds.renewal, grantKeys, { audience: 'mayfly-revocation' }),
        assertions: new TokenVerifier(tokenKinds.assertion, assertionKeys, { audience: 'mayfly-revocation' }),
        onFailure,
        onFound: () => undefined,
        settings: RevocationSettings.parse({
          MAYFLY_NATS_URL: 'nats://none',
          MAYFLY_KEYS: '/none',
          MAYFLY_POSTGRES_URL: 'postgres://none',
          MAYFLY_END_ANSWER_MS: '2000',
          ...settings,
        }),
      });
      started.push(register);
      return register;
    },
    sign,
    signRenewal: (changes, options) =>
      renewalSigner.sign(renewalClaims(changes), { now: new Date(), ...options }),
    assert(
      act,
      {
        agentId: id = agentId('one'),
        sessionId = randomUUID(),
        administrator = false,
        platformAdministrator = false,
        organization: org = organization,
      } = {},
    ) {
      return assertionSigner.sign(
        {
          jti: randomUUID(),
          actor: { organization: org, session_id: sessionId, agent_id: id },
          kind: administrator || platformAdministrator ? 'person' : 'agent',
          person_roles: [
            ...(administrator ? (['administrator'] as const) : []),
            ...(platformAdministrator ? (['platform_administrator'] as const) : []),
          ],
          act,
        },
        { now: new Date(), audience: 'mayfly-revocation' },
      );
    },
    async issue(register, changes, input) {
      const claims = grantClaims(changes);
      await register.activations.activate(activateInput(await sign(claims), input));
      return claims.jti;
    },
    async eventsOf(leaseId) {
      const events = (await outbox()).filter((event) => event.subject === leaseId);
      return events.map((event) => event.type.replace(/^dev\.mayfly\.|\.v1$/g, ''));
    },
    outbox,
    async row(leaseId) {
      const { rows } = await database.pool.query<Record<string, unknown>>(
        'SELECT * FROM revocation.leases WHERE lease_id = $1',
        [leaseId],
      );
      return rows[0];
    },
    async close() {
      await Promise.all(started.map((register) => register.stop()));
      await database.drop();
    },
  };
}

export function activateInput(grant: string, changes: Partial<ActivateInput> = {}): ActivateInput {
  return {
    grant,
    handle,
    issuance_traceparent: traceparent(),
    revocability: { kind: 'immediate' },
    fingerprints: [{ part: 'password', sha256: 'f'.repeat(64) }],
    use_keys: { 'postgres.role': 'mayfly_x' },
    mint_id: randomUUID(),
    ...changes,
  };
}

/** Polls until `condition` holds; throws after `timeoutMs`. */
export async function until(condition: () => Promise<boolean> | boolean, timeoutMs = 10_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('the condition did not come true in time');
    await sleep(10);
  }
}
