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
import { decodeJwt } from 'jose';
import type { Pool } from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { holds } from '../authorization/authorize-act.ts';
import type { RunningConfiguration, RunningVersion } from '../configuration/running-configuration.ts';
import { sessionEvent, type SignalReporter } from '../reporting/events.ts';
import type { SessionGate } from '../sessions/session-gate.ts';
import { describeBlock, findBlock } from '../store/blocks.ts';
import { keepProof, type Proof } from '../store/session-proofs.ts';
import { insertSession } from '../store/sessions.ts';
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

/** What becomes a session, or a refusal with the words for the asker and, where it says more, the words for auditors. */
class Refused extends MayflyError {
  constructor(
    readonly why: string,
    /** Known once a rule has verified the identity. */
    readonly organization?: string,
  ) {
    // The same words for every reason: they don't tell which organizations or rules there are.
    super('unauthenticated', 'No trust rule admits this identity.');
  }
}

/** Admitted by a rule, but an administrator has blocked the agent or its user. */
class Blocked extends MayflyError {
  constructor(
    readonly why: string,
    readonly organization: string,
  ) {
    super('policy_denied', blockedReason);
  }
}

/** Admitted, but by a rule that wants secrets sealed to the session's own key. Told to the asker, who can mend it. */
class NeedsRecipientKey extends MayflyError {
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
   * Throws `unauthenticated` with a short reason, `policy_denied` for an agent or user that is blocked; the full one goes into
   * the signal `session.rejected`.
   */
  async run(input: Input): Promise<Output> {
    if (!acceptedTypes.includes(input.subject_token_type)) {
      throw new MayflyError('invalid_request', 'The subject token type must be a JWT or an ID token.');
    }
    // A key that can't be sealed to would fail only at the first mint.
    if (input.recipient_key !== undefined) await sealTo(input.recipient_key, 'probe');
    const running = this.parts.running.current();
    try {
      const { rule, identity, proof } = await this.#attest(input, running);
      return await this.#open(input, running, rule, identity, proof);
    } catch (error) {
      if (isRejection(error)) {
        await this.parts.signals.report('session.rejected', rejection(error, input, running));
      }
      throw error;
    }
  }

  async #attest(
    input: Input,
    { configuration }: RunningVersion,
  ): Promise<{ rule: TrustRule; identity: AttestedIdentity; proof: Proof }> {
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
    const derived = deriveSession(rule, organization, claims);
    if (derived.outcome === 'refused') throw new Refused(derived.why, organization.name);
    if (rule.requireRecipientKey && input.recipient_key === undefined) {
      throw new NeedsRecipientKey(`trust rule ${rule.name} requires a recipient key`, organization.name);
    }
    return { rule, identity: derived.identity, proof: { claims, key, jwks: rule.jwks } };
  }

  async #open(
    input: Input,
    running: RunningVersion,
    rule: TrustRule,
    identity: AttestedIdentity,
    proof: Proof,
  ): Promise<Output> {
    const session = {
      ...identity,
      id: uuidv7(),
      ...(input.recipient_key === undefined ? {} : { recipientKey: input.recipient_key }),
      ...(input.heartbeat_seconds === undefined ? {} : { heartbeatSeconds: input.heartbeat_seconds }),
    };
    const ttlSeconds = rule.sessionTtlSeconds;
    const { openedAt } = await inTransaction(this.parts.pool, async (client) => {
      // People are never blocked: whoever blocks must not be able to lock the other administrators out.
      if (session.kind === 'agent') {
        const block = await findBlock(client, session);
        if (block !== undefined) throw new Blocked(describeBlock(block), session.organization);
      }
      const opened = await insertSession(client, { ...session, trustRule: rule.name, ttlSeconds });
      // A document can then be tried on it before it locks this administrator out.
      if (holds(session, 'platform_administrator')) await keepProof(client, session.id, proof);
      const event = sessionEvent('session.opened', session, {
        source_ip: input.source_ip,
        ttl_seconds: ttlSeconds,
        expires_at: opened.expiresAt.toISOString(),
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
      return opened;
    });
    this.parts.relay.nudge();
    const token = await this.parts.signer.sign(claimsFor(session), { now: openedAt, ttlSeconds });
    return {
      access_token: await sealTo(input.reply_key, token),
      expires_in: ttlSeconds,
      session_id: session.id,
    };
  }
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
  if (error instanceof Blocked || error instanceof NeedsRecipientKey || error instanceof UnknownKey)
    return true;
  return error instanceof MayflyError && error.code === 'unauthenticated';
}

function rejection(error: MayflyError, input: Input, running: RunningVersion): EventData {
  const refused =
    error instanceof Refused || error instanceof Blocked || error instanceof NeedsRecipientKey
      ? error
      : undefined;
  return {
    reason: refused?.why ?? error.reason,
    outcome: error.code,
    source_ip: input.source_ip,
    config_version: running.version,
    ...(refused?.organization === undefined ? {} : { organization: refused.organization }),
  };
}
