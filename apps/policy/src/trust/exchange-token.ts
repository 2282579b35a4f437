/** Opens a session for a platform identity (RFC 8693). */
import {
  blockedReason,
  MayflyError,
  type bus,
  type EventData,
  type InputOf,
  type OutputOf,
} from '@mayfly/contracts';
import type { TrustRule } from '@mayfly/configuration';
import { appendToOutbox, type OutboxRelay } from '@mayfly/messaging';
import { inTransaction } from '@mayfly/postgres';
import { sealTo, UnknownKey, type IdentityVerifier, type TokenSigner } from '@mayfly/tokens';
import type { SessionClaims } from '@mayfly/contracts';
import { createHash } from 'node:crypto';
import { decodeJwt } from 'jose';
import type { Pool, PoolClient } from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { holds } from '../authorization/authorize-act.ts';
import type { RunningConfiguration, RunningVersion } from '../configuration/running-configuration.ts';
import { sessionEvent, type SignalReporter } from '../reporting/events.ts';
import type { SessionGate } from '../sessions/session-gate.ts';
import { byNewestConfiguration, outdated, type Outdated } from '../decisions/newest-configuration.ts';
import { bindsPlatform, describeBlock, findBlock } from '../store/blocks.ts';
import { keepProof, type Proof } from '../store/session-proofs.ts';
import { beginOpening, insertSession } from '../store/sessions.ts';
import { fitsRequirements } from './claims.ts';
import { deriveSession, type AttestedIdentity } from './derive-session.ts';
import { selectRules } from './select-rules.ts';

type Input = InputOf<typeof bus.policy.exchangeToken>;
type Output = OutputOf<typeof bus.policy.exchangeToken>;

/** RFC 8693 §3: what is a JWT. */
const acceptedTypes = ['urn:ietf:params:oauth:token-type:jwt', 'urn:ietf:params:oauth:token-type:id_token'];

export interface ExchangeTokenParts {
  readonly gate: SessionGate;
  readonly identities: IdentityVerifier;
  readonly running: RunningConfiguration;
  readonly signer: TokenSigner<SessionClaims>;
  readonly signals: SignalReporter;
  readonly pool: Pool;
  readonly relay: Pick<OutboxRelay, 'nudge'>;
}

interface Attested {
  readonly rule: TrustRule;
  readonly identity: AttestedIdentity;
  readonly identitySha256: Buffer;
  readonly proof: Proof;
}

/** A refusal with the words for the asker and, where they say more, the words for auditors. */
abstract class Refusal extends MayflyError {
  abstract readonly why: string;
  /** Known once a rule has verified the identity. */
  abstract readonly organization: string | undefined;
}

class Refused extends Refusal {
  constructor(
    readonly why: string,
    readonly organization: string | undefined = undefined,
  ) {
    // The same words for every reason: they don't tell which organizations or rules there are.
    super('unauthenticated', 'No trust rule admits this identity.');
  }
}

/** Admitted by a rule, but an administrator has blocked the agent, the person or its user. */
class Blocked extends Refusal {
  constructor(
    readonly why: string,
    readonly organization: string,
  ) {
    super('policy_denied', blockedReason);
  }
}

/** One identity token opens a limited number of sessions, so that a stolen one is worth little. */
class UsedUp extends Refusal {
  constructor(
    readonly why: string,
    readonly organization: string,
  ) {
    super('limit_exceeded', 'This identity token has opened as many sessions as it may; get a new one.');
  }
}

/** Admitted, but by a rule that wants secrets sealed to the session's own key. Told to the asker, who can mend it. */
class NeedsRecipientKey extends Refusal {
  constructor(
    readonly why: string,
    readonly organization: string,
  ) {
    super('invalid_request', 'The trust rule that admits this identity asks for a recipient_key.');
  }
}

export class ExchangeToken {
  constructor(private readonly parts: ExchangeTokenParts) {}

  /**
   * Throws `unauthenticated` with a short reason, `policy_denied` for an agent, person or user that is blocked, `limit_exceeded`
   * for an identity token that has opened as many sessions as it may, `invalid_request` where a recipient key is asked for; the full reason goes into the signal `session.rejected`.
   */
  async run(input: Input): Promise<Output> {
    if (!acceptedTypes.includes(input.subject_token_type)) {
      throw new MayflyError('invalid_request', 'The subject token type must be a JWT or an ID token.');
    }
    // A key that can't be sealed to would fail only at the first mint.
    if (input.recipient_key !== undefined) await sealTo(input.recipient_key, 'probe');
    const running = this.parts.running.current();
    try {
      return await byNewestConfiguration(this.parts.running, async (newest) =>
        this.#open(input, newest, await this.#attest(input, newest)),
      );
    } catch (error) {
      if (isRejection(error)) {
        await this.parts.signals.report('session.rejected', rejection(error, input, running));
      }
      throw error;
    }
  }

  async #attest(input: Input, { configuration }: RunningVersion): Promise<Attested> {
    const token = await this.parts.gate.unseal(input.subject_token);
    // Picks by what the token claims, so that no more signatures are checked than may matter. Nothing is believed yet.
    const selection = selectRules(configuration.trust, claimsOf(token));
    if (selection.outcome === 'none' && selection.failed === 'require') throw new Refused(selection.why);
    // With an issuer or audience of nobody's, verifying fails before any key is asked for, with words for the asker.
    const candidates = selection.outcome === 'selected' ? selection.rules : configuration.trust;
    const { rule, claims, key } = await this.parts.identities.verify(token, candidates, { now: new Date() });
    if (!fitsRequirements(claims, rule.require)) throw new Refused('the verified claims are other ones');
    const organization = configuration.organizations.get(rule.organization);
    if (organization === undefined) throw new Refused(`trust rule ${rule.name} names no organization`);
    const { trustDomain } = organization;
    const derived = deriveSession(rule, { id: rule.organization, trustDomain }, claims);
    if (derived.outcome === 'refused') throw new Refused(derived.why, rule.organization);
    if (rule.requireRecipientKey && input.recipient_key === undefined) {
      throw new NeedsRecipientKey(`trust rule ${rule.name} requires a recipient key`, rule.organization);
    }
    const proof = { claims, key, jwks: rule.jwks };
    return { rule, identity: derived.identity, identitySha256: digestOf(token), proof };
  }

  async #open(
    input: Input,
    running: RunningVersion,
    { rule, identity, identitySha256, proof }: Attested,
  ): Promise<Output | Outdated> {
    const attested = {
      ...identity,
      id: uuidv7(),
      ...(input.recipient_key === undefined ? {} : { recipientKey: input.recipient_key }),
      ...(input.heartbeat_seconds === undefined ? {} : { heartbeatSeconds: input.heartbeat_seconds }),
    };
    const ttlSeconds = rule.sessionTtlSeconds;
    const opened = await inTransaction(this.parts.pool, async (client) => {
      await beginOpening(client, identitySha256);
      const session = await unblocked(client, attested);
      const inserted = await insertSession(client, {
        ...session,
        trustRule: rule.name,
        ttlSeconds,
        configVersion: running.version,
        identitySha256,
        mostOfIdentity: rule.maxSessionsPerIdentity,
      });
      if (inserted.outcome === 'outdated_configuration') return outdated;
      if (inserted.outcome === 'identity_used_up') {
        throw new UsedUp(
          `the identity token has opened ${rule.maxSessionsPerIdentity} sessions`,
          session.organization,
        );
      }
      // A document can then be tried on it before it locks this administrator out.
      if (holds(session, 'platform_administrator')) await keepProof(client, session.id, proof);
      const event = sessionEvent('session.opened', session, {
        source_ip: input.source_ip,
        ttl_seconds: ttlSeconds,
        expires_at: inserted.expiresAt.toISOString(),
        config_version: running.version,
        action_context: {
          kind: session.kind,
          person_roles: [...session.personRoles],
          trust_rule: rule.name,
          recipient_key_registered: session.recipientKey !== undefined,
          ...(session.heartbeatSeconds === undefined ? {} : { heartbeat_seconds: session.heartbeatSeconds }),
        },
      });
      await appendToOutbox(client, 'policy', [event]);
      return { session, openedAt: inserted.openedAt };
    });
    if (opened === outdated) return outdated;
    const { session, openedAt } = opened;
    this.parts.relay.nudge();
    const token = await this.parts.signer.sign(claimsFor(session), { now: openedAt, ttlSeconds });
    return {
      access_token: await sealTo(input.reply_key, token),
      expires_in: ttlSeconds,
      session_id: session.id,
    };
  }
}

/**
 * Throws for who is blocked. The role of a platform administrator is no organization's: a block by the administrators of one leaves
 * a person that role and no other, so that they can't keep out who is to put them right.
 */
async function unblocked<Identity extends AttestedIdentity>(
  client: PoolClient,
  identity: Identity,
): Promise<Identity> {
  const block = await findBlock(client, identity);
  if (block === undefined) return identity;
  const isPlatform = holds(identity, 'platform_administrator') && !(await bindsPlatform(client, identity));
  if (!isPlatform) throw new Blocked(describeBlock(block), identity.organization);
  return { ...identity, personRoles: ['platform_administrator'] };
}

function claimsFor(
  session: AttestedIdentity & {
    id: string;
    recipientKey?: Input['recipient_key'];
    heartbeatSeconds?: number;
  },
): SessionClaims {
  return {
    sub: session.agentId,
    sid: session.id,
    organization: session.organization,
    kind: session.kind,
    ...(session.agentRole === undefined ? {} : { agent_role: session.agentRole }),
    ...(session.personRoles.length === 0 ? {} : { person_roles: [...session.personRoles] }),
    ...(session.user === undefined ? {} : { user: session.user }),
    ...(session.task === undefined ? {} : { task: session.task }),
    ...(session.recipientKey === undefined ? {} : { recipient_key: session.recipientKey }),
    ...(session.heartbeatSeconds === undefined ? {} : { heartbeat_seconds: session.heartbeatSeconds }),
  };
}

/** Of header and payload alone: a signature may have several forms, what it signs has one. */
function digestOf(token: string): Buffer {
  return createHash('sha256')
    .update(token.slice(0, token.lastIndexOf('.')))
    .digest();
}

/** Unverified. What cannot be read claims nothing; verifying it will say what is wrong. */
function claimsOf(token: string): Record<string, unknown> {
  try {
    return token.length > 16_384 ? {} : decodeJwt(token);
  } catch {
    return {};
  }
}

/** What auditors are told of. A key that its issuer does not have yet may as well be a forger's. */
function isRejection(error: unknown): error is MayflyError {
  if (error instanceof Refusal || error instanceof UnknownKey) return true;
  return error instanceof MayflyError && error.code === 'unauthenticated';
}

function rejection(error: MayflyError, input: Input, running: RunningVersion): EventData {
  const refused = error instanceof Refusal ? error : undefined;
  return {
    reason: refused?.why ?? error.reason,
    outcome: error.code,
    source_ip: input.source_ip,
    config_version: running.version,
    ...(refused?.organization === undefined ? {} : { organization: refused.organization }),
  };
}
