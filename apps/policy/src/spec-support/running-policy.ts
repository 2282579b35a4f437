/** Policy as its module wires it, on a fresh database and with keys of its own, without the bus. For specs only. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { MayflyError, type MayflyEvent } from '@mayfly/contracts';
import { Secret } from '@mayfly/domain';
import type { BusClient, EventPublisher } from '@mayfly/messaging';
import { createLogger, createMetrics } from '@mayfly/telemetry';
import {
  generateSealingKeyPair,
  keyFiles,
  loadSealingPublicKey,
  loadVerificationKeys,
  sealTo,
  TokenVerifier,
  tokenKinds,
  type SealingKeyPair,
} from '@mayfly/tokens';
import type { Type } from '@nestjs/common';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey } from 'jose';
import { Background } from '../background.ts';
import { ExchangeToken } from '../trust/exchange-token.ts';
import { PolicyModule, type PolicyHost } from '../policy.module.ts';
import { Hearing } from '../sessions/hearing.ts';
import { freshDatabase } from './fresh-database.ts';

export const sourceIp = '192.0.2.7';
export const issuer = 'https://issuer.example';

export type RunningPolicy = Awaited<ReturnType<typeof runPolicy>>;

/** Starts policy with a configuration, in which `ISSUER_KEYS` stands for the file with the issuer's keys. */
export async function runPolicy(
  configuration: string,
  bus: { publisher?: EventPublisher; client?: BusClient; connection?: PolicyHost['connection'] } = {},
) {
  const folder = await mkdtemp(join(tmpdir(), 'mayfly-policy-'));
  const database = await freshDatabase();
  const keys = keyFiles(folder);
  for (const name of ['sessionToken', 'grant', 'assertion'] as const) {
    await writeKeys(keys.policy[name], keys.public[name], 'EdDSA');
  }
  await writeKeys(keys.policy.sealing, keys.public.policySealing, 'ECDH-ES');
  const issuerFile = join(folder, 'issuer.jwks.json');
  const issuerKey = await writeKeys(join(folder, 'issuer-private.json'), issuerFile, 'EdDSA');
  const document = configuration.replaceAll('ISSUER_KEYS', `file:${issuerFile}`);
  const configFile = join(folder, 'mayfly.yaml');
  await writeFile(configFile, document);

  const signals: MayflyEvent[] = [];
  const keepSignals = { signal: (event: MayflyEvent) => Promise.resolve(void signals.push(event)) };
  const publisher = bus.publisher ?? (keepSignals as unknown as EventPublisher);
  const nobodyAnswers = {
    call: () => Promise.reject(new MayflyError('dependency_unavailable', 'nobody answers')),
  } as unknown as BusClient;
  // Of which nothing is ever told.
  const neverBreaks = {
    isClosed: () => false,
    status: () => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }) }),
  } as unknown as PolicyHost['connection'];
  const logLines: string[] = [];
  const readiness = new Map<string, () => Promise<boolean>>();
  const module = await PolicyModule.register(
    {
      logger: createLogger({ service: 'policy', destination: { write: (line) => logLines.push(line) } }),
      metrics: createMetrics('policy'),
      connection: bus.connection ?? neverBreaks,
      publisher,
      client: bus.client ?? nobodyAnswers,
      keys,
      addReadinessCheck: (name, check) => readiness.set(name, check),
    },
    {
      MAYFLY_POSTGRES_URL: new Secret(database.connectionString),
      MAYFLY_POSTGRES_POOL: 20,
      MAYFLY_CONFIG: configFile,
      MAYFLY_CONFIG_POLL_MS: 1_000,
      MAYFLY_RESERVATION_HOLD_SECONDS: 90,
      MAYFLY_RESERVATION_CHECK_MS: 600_000,
      MAYFLY_FAILING_CLEANUPS_PER_ORCHESTRATION: 20,
      MAYFLY_SESSION_SWEEP_MS: 1_000,
    },
  );
  const instances = new Map<unknown, unknown>(
    (module.providers ?? []).map((provider) =>
      'useValue' in provider ? [provider.provide, provider.useValue as unknown] : [provider, undefined],
    ),
  );
  const get = <T>(type: Type<T>): T => instances.get(type) as T;
  const replyKey = await generateSealingKeyPair();
  const seal = async (value: string) => sealTo(await loadSealingPublicKey(keys.public.policySealing), value);
  const identity = (
    claims: Record<string, unknown>,
    options: { issuer?: string; audience?: string; issuedAt?: number; validFor?: string } = {},
  ) =>
    new SignJWT(claims)
      .setProtectedHeader({ alg: 'EdDSA', kid: 'key-1' })
      .setIssuer(options.issuer ?? issuer)
      .setAudience(options.audience ?? 'mayfly')
      .setIssuedAt(options.issuedAt)
      .setExpirationTime(options.validFor ?? '1m')
      .sign(issuerKey);

  return {
    database,
    module,
    keys,
    document,
    signals,
    logLines,
    readiness,
    replyKey,
    get,
    identity,
    seal,
    async open(claims: Record<string, unknown>, recipientKey?: SealingKeyPair) {
      const opened = await get(ExchangeToken).run({
        subject_token: await seal(await identity(claims)),
        subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
        ...(recipientKey === undefined ? {} : { recipient_key: recipientKey.publicJwk }),
        reply_key: replyKey.publicJwk,
        source_ip: sourceIp,
      });
      const raw = await replyKey.open(opened.access_token);
      return { token: await seal(raw), raw, sessionId: opened.session_id, expiresIn: opened.expires_in };
    },
    /** As if it had been hearing for so long, and no longer. */
    hearsFor(seconds: number) {
      const now = performance.now();
      const hearing = get(Hearing);
      hearing.isLost(now - seconds * 1000);
      for (let left = seconds; left > 0; left--) hearing.works(now - left * 1000);
      hearing.works(now);
    },
    async readGrant(grant: string) {
      const verifier = new TokenVerifier(tokenKinds.grant, await loadVerificationKeys(keys.public.grant), {
        audience: 'mayfly-minting',
      });
      return verifier.verify(grant, { now: new Date() });
    },
    async readAssertion(assertion: string, audience = 'mayfly-revocation') {
      const pinned = await loadVerificationKeys(keys.public.assertion);
      return new TokenVerifier(tokenKinds.assertion, pinned, { audience }).verify(assertion, {
        now: new Date(),
      });
    },
    async outbox(): Promise<MayflyEvent[]> {
      const { rows } = await database.pool.query<{ event: string }>(
        'SELECT event FROM policy.outbox ORDER BY sequence',
      );
      return rows.map(({ event }) => JSON.parse(event) as MayflyEvent);
    },
    /** Whoever has started the module as an application closes that first, which ends its pool. */
    async stop(options: { closed?: boolean } = {}) {
      if (options.closed !== true) await get(Background).onApplicationShutdown();
      await database.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function writeKeys(
  privateFile: string,
  publicFile: string,
  algorithm: 'EdDSA' | 'ECDH-ES',
): Promise<CryptoKey> {
  const options = { extractable: true, crv: algorithm === 'EdDSA' ? 'Ed25519' : 'X25519' };
  const { privateKey } = await generateKeyPair(algorithm, options);
  const { d, ...publicJwk } = { ...(await exportJWK(privateKey)), kid: 'key-1' };
  await Promise.all([privateFile, publicFile].map((file) => mkdir(dirname(file), { recursive: true })));
  await writeFile(privateFile, JSON.stringify({ keys: [{ ...publicJwk, d }] }), { mode: 0o600 });
  await writeFile(publicFile, JSON.stringify({ keys: [publicJwk] }));
  return privateKey;
}
