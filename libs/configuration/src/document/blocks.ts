/** The blocks of `mayfly.yaml` as written: snake_case, durations as text. What they name is resolved by their own modules. */
import {
  CredentialName,
  exactText,
  JsonObject,
  Name,
  PersonRole,
  text,
  trustDomainForm,
} from '@mayfly/contracts';
import { absoluteMaxLifeSeconds } from '@mayfly/domain';
import { z } from 'zod';
import { trustAlgorithms } from '../configuration.ts';

const secondsPer: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };

/** `90s`, `15m`, `1h` → seconds. At least `minSeconds` (0 or 1) and at most `maxSeconds`. */
export function Duration(maxSeconds: number, maxText: string, minSeconds: 0 | 1 = 1) {
  return z.unknown().transform((value, context) => {
    const match = typeof value === 'string' ? /^(0|[1-9][0-9]{0,6})([smh])$/.exec(value) : null;
    if (!match || Number(match[1]) < minSeconds) {
      context.addIssue({ code: 'custom', message: 'must be a duration such as 90s, 15m or 1h' });
      return z.NEVER;
    }
    const seconds = Number(match[1]) * (secondsPer[match[2] ?? ''] ?? Infinity);
    if (seconds > maxSeconds) {
      context.addIssue({ code: 'custom', message: `must be at most ${maxText}` });
      return z.NEVER;
    }
    return seconds;
  });
}

const notEmpty = { error: 'must be a list with at least one entry' };

export const OrganizationBlock = z.strictObject({
  name: Name,
  /** SPIFFE-ID §2.1 */
  trust_domain: z.string().regex(trustDomainForm, {
    error: 'must be a trust domain such as acme.example: lower-case letters, digits, ".", "-" and "_"',
  }),
  secret_references: z.array(exactText(512)).max(64).optional(),
  policies: z.string().optional(),
});

/** `sub`, `kubernetes.io.namespace`: a dot path into the token's payload. */
const ClaimPath = text(256).refine(
  (path) => path.split('.').every((part) => part !== '' && part !== '__proto__'),
  { error: 'must be the name of a claim, or a path such as realm.groups' },
);

/** Keys one below the other, each to the letter. Claims are nested at most 16 levels deep. */
const ClaimKeys = z
  .array(text(256).refine((key) => key !== '__proto__'))
  .min(1)
  .max(16);

/** Where something else may stand than a claim, this is what its map has. */
const Claim = z.union([ClaimPath, ClaimKeys], {
  error:
    'must be the name of a claim, a path such as realm.groups, or a list of keys such as [kubernetes.io, namespace]',
});

/** A text is the value itself; a map names the claim that holds it. */
const ClaimSource = z.union([text(256), z.strictObject({ claim: Claim })], {
  error: 'must be a text, or {claim: <name of the claim>}',
});

const RoleSource = z.union([Name, z.strictObject({ claim: Claim, allowed: z.array(Name).min(1).max(256) })], {
  error: 'must be the name of a role, or {claim: <name of the claim>, allowed: [<role>, …]}',
});

const commonTrust = {
  name: Name,
  organization: Name.optional(),
  issuer: exactText(512),
  audience: exactText(512),
  jwks: text(1024),
  require: z
    .record(
      ClaimPath,
      z.union([text(512), z.array(text(512)).min(1).max(256)], {
        error: 'must be a text or a list of texts; quote numbers and true or false',
      }),
    )
    .refine((claims) => Object.keys(claims).length <= 32, { error: 'must have at most 32 entries' })
    .optional(),
  algorithms: z.array(z.enum(trustAlgorithms)).min(1, notEmpty).optional(),
  session_ttl: Duration(3600, '1h').optional(),
  max_identity_age: Duration(86_400, '24h').optional(),
  max_sessions_per_identity: z.int().min(1).max(10_000).optional(),
  require_recipient_key: z.boolean().optional(),
};

export const AgentTrustBlock = z.strictObject({
  ...commonTrust,
  as: z.literal('agent'),
  agent: z.strictObject({ orchestration: ClaimSource, task: ClaimSource, instance: ClaimSource }),
  role: RoleSource.optional(),
  user: ClaimSource.optional(),
});

export const PersonTrustBlock = z.strictObject({
  ...commonTrust,
  as: z.literal('person'),
  user: ClaimSource,
  person_roles: z
    .strictObject({
      claim: Claim,
      values: z
        .record(text(256), PersonRole)
        .refine((values) => Object.keys(values).length <= 256, { error: 'must have at most 256 entries' }),
    })
    .optional(),
});

/** What every integration has; the rest of the block belongs to the provider. */
export const IntegrationBlock = z.strictObject({
  name: Name,
  organization: Name.optional(),
  provider: Name,
});

/** As one of `limits:`, lifts it. The highest number that can be written there. */
export const noLimit = 1_000_000;

/** What every credential has; the rest of the block belongs to the provider. */
export const CredentialBlock = z.strictObject({
  name: CredentialName,
  organization: Name.optional(),
  description: text(1024).optional(),
  roles: z.array(Name).max(256).optional(),
  scope: JsonObject,
  ttl: z
    .strictObject({ default: Duration(3600, '1h').optional(), max: Duration(3600, '1h').optional() })
    .optional(),
  limits: z
    .strictObject({
      per_session: z.int().min(1).max(noLimit).optional(),
      concurrent: z.int().min(1).max(noLimit).optional(),
    })
    .optional(),
  /** Without it a lease can't be renewed. */
  renewal: z
    .strictObject({
      max_life: Duration(absoluteMaxLifeSeconds, '24h'),
      max_count: z.int().min(1).max(1_000).optional(),
      grace: Duration(300, '5m', 0).optional(),
    })
    .optional(),
  approval: z.enum(['required', 'off']).optional(),
  /** Unsafe rights that the scope has, by name. */
  unsafe: z.array(text(64)).max(16).optional(),
});
