/**
 * Every kind of identifier, each with the one form that it has inside Mayfly. What is written in another form that means the
 * same (a UUID in capital letters, a user in another case) is brought into that form where it comes in, by the schema that
 * every operation uses; what has no such form is refused. So two spellings of one thing never meet anywhere else: everything
 * that compares, locks, filters or counts compares bytes. The same forms are demanded by CHECKs in Postgres.
 */
import { z } from 'zod';

/** A UUID in any version, in lower case (RFC 9562 §4); ids that Mayfly makes are UUIDv7 (RFC 9562 §5.7). */
export const Uuid = z.uuid().toLowerCase();

/** Lower-case name as used in `mayfly.yaml` for organizations, integrations and roles. At most 63 characters. */
export const Name = z.string().regex(/^[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?$/, {
  error: 'must be 1 to 63 lower-case letters, digits, "-" or "_", and begin and end with a letter or digit',
});

/**
 * What an organization is known by in sessions, grants, leases, fences and the log: its name, or `<name>.<n>` for the n-th
 * organization that has that name. A name that is given away does not give its history away with it (I5).
 */
export const OrganizationId = z
  .string()
  .regex(/^[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?(?:\.[1-9][0-9]{0,8})?$/, {
    error: 'must be the name of an organization',
  });

/** `<integration>/<name>`, the name an agent asks by. */
export const CredentialName = z
  .string()
  .max(127)
  .regex(/^[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?\/[a-z0-9](?:[a-z0-9_.-]{0,61}[a-z0-9])?$/, {
    error: 'must look like <integration>/<name>, in lower-case letters, digits, "-" and "_"',
  });

/** SPIFFE-ID §2.1. A trust domain belongs to one organization. */
export const trustDomainForm = /^[a-z0-9](?:[a-z0-9._-]{0,253}[a-z0-9])?$/;

/** Characters that a SPIFFE path segment may hold (SPIFFE-ID §2.2), at most 128; `.` and `..` are none. */
export const spiffeSegmentForm = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,128}$/;

const agentIdForm = (() => {
  const domain = trustDomainForm.source.slice(1, -1);
  const segment = '(?!\\.{1,2}(?:/|$))[A-Za-z0-9._-]{1,128}';
  return new RegExp(`^spiffe://${domain}/(?:agent/${segment}/${segment}/${segment}|person/${segment})$`);
})();

/**
 * `spiffe://<trust domain>/agent/<orchestration>/<task>/<instance>`, or `…/person/<name>` for people (SPIFFE-ID §2). Scheme and
 * trust domain are lower-case, whatever case they come in; the path is compared to the letter, and never ends with a slash.
 */
export const AgentId = z
  .string()
  .max(2048)
  .overwrite((id) => id.replace(/^spiffe:\/\/[A-Za-z0-9._-]*/i, (start) => start.toLowerCase()))
  .regex(agentIdForm, {
    error:
      'must be spiffe://<trust domain>/agent/<orchestration>/<task>/<instance>, or …/person/<name>, without a slash at the end',
  });

/**
 * What no identifier may hold, because nobody sees it: control, format, private and unassigned characters and lone surrogates
 * (`\p{C}`), all that a renderer may leave out (`\p{DI}`), and every separator but the plain space.
 */
export const invisible = /[\p{C}\p{DI}]|(?! )\p{Z}/u;

/**
 * A human, from a verified claim or as an administrator names one. Users are the same whatever their case and their normal form:
 * the form here is NFC (UAX #15) in lower case, without regard to any language. Two accounts of an identity provider that differ
 * in case alone are one user to Mayfly. Lower case is all that is done: names that differ in letters with two lower-case forms (σ and
 * ς, s and ſ) stay different users.
 */
export const User = z
  .string()
  .min(1)
  .max(256)
  .overwrite((user) => user.normalize('NFC').toLowerCase().normalize('NFC'))
  .max(256)
  .refine((user) => !invisible.test(user), {
    error: 'must not contain characters that cannot be seen',
  })
  .refine((user) => !/^ | $/.test(user), { error: 'must not begin or end with a space' });

/**
 * Text that is compared to the letter and has no other spelling: NFC, nothing in it that can't be seen. For names that others
 * choose and Mayfly can't bring into a form of its own: issuers, audiences, secret references.
 */
export function exactText(maxLength: number) {
  return z
    .string()
    .min(1)
    .max(maxLength)
    .refine((value) => !invisible.test(value), { error: 'must not contain characters that cannot be seen' })
    .refine((value) => value === value.normalize('NFC'), {
      error: 'must be in Unicode normal form NFC',
    });
}

/** 32 hex digits, in lower case (W3C Trace Context §3.2.2.3). */
export const TraceId = z
  .string()
  .toLowerCase()
  .regex(/^[0-9a-f]{32}$/, { error: 'must be 32 hex digits' });

const subjects = {
  lease: z.strictObject({ kind: z.literal('lease'), id: Uuid }),
  session: z.strictObject({ kind: z.literal('session'), id: Uuid }),
  agent: z.strictObject({ kind: z.literal('agent'), id: AgentId }),
  user: z.strictObject({ kind: z.literal('user'), id: User }),
  credential: z.strictObject({ kind: z.literal('credential'), id: CredentialName }),
  integration: z.strictObject({ kind: z.literal('integration'), id: Name }),
};

/** Kinds of subjects that are named by an id, in the order in which they are listed. */
export const subjectKinds = [
  'lease',
  'session',
  'agent',
  'user',
  'credential',
  'integration',
  'organization',
] as const;

/** What a revocation or block names, with its id in the form of its kind. */
export const Subject = z.discriminatedUnion('kind', [
  subjects.lease,
  subjects.session,
  subjects.agent,
  subjects.user,
  subjects.credential,
  subjects.integration,
  z.strictObject({ kind: z.literal('organization'), id: OrganizationId }),
]);
export type Subject = z.infer<typeof Subject>;

/** What a block names: whoever asks, or what is asked for. */
export const BlockSubject = z.discriminatedUnion('kind', [
  subjects.agent,
  subjects.user,
  subjects.session,
  subjects.credential,
  subjects.integration,
]);
export type BlockSubject = z.infer<typeof BlockSubject>;

/**
 * Exactly one subject of a revocation. `organization` without an id is the asker's own; `everything` is every organization's
 * and takes a platform administrator.
 */
export const RevocationSubject = z.discriminatedUnion('kind', [
  subjects.lease,
  subjects.session,
  subjects.agent,
  subjects.user,
  subjects.credential,
  subjects.integration,
  z.strictObject({ kind: z.literal('organization'), id: OrganizationId.optional() }),
  z.strictObject({ kind: z.literal('everything') }),
]);
export type RevocationSubject = z.infer<typeof RevocationSubject>;
