/** What policy answers about the configuration document: its versions, and what another document would change. */
import { z } from 'zod';
import { defineOperation } from '../operation.ts';
import { Instant, OrganizationId, Sealed, SourceIp } from '../primitives.ts';

/** A version of the configuration document, without the document. */
export const ConfigVersion = z.strictObject({
  version: z.int().min(1),
  /** Hex. Two versions with the same one are the same document. */
  sha256: z.string(),
  applied_at: Instant,
  applied_by: z
    .string()
    .describe(
      'SPIFFE ID of the administrator; `bootstrap` for the file of the first start, `recovery` for who had the machine',
    ),
  applied_from: z
    .string()
    .optional()
    .describe('Source address, file of the first start, or host and operating system user of a recovery'),
  sessions_kept: z
    .boolean()
    .optional()
    .describe('Whether the sessions that it did not admit were kept (a recovery) until the next version'),
  same_as: z.int().min(1).optional().describe('The first earlier version with the same document: a rollback'),
});
export type ConfigVersion = z.infer<typeof ConfigVersion>;

/** Most versions in a page. */
export const mostConfigVersions = 100;

/** A page of versions, newest first. */
export const configVersionsPage = {
  before: z.coerce
    .number()
    .int()
    .min(1)
    .max(2_147_483_647)
    .optional()
    .describe('Keyset: the last version of the page before'),
  limit: z.coerce.number().int().min(1).max(mostConfigVersions).default(20),
};

export const listConfigVersions = defineOperation({
  name: 'policy.list-config-versions',
  summary: 'Every applied version of the configuration document, newest first.',
  bus: { service: 'policy', operation: 'list-config-versions', callers: ['gateway'], timeoutMs: 5_000 },
  input: z.strictObject({ token: Sealed, ...configVersionsPage, source_ip: SourceIp }),
  output: z.strictObject({
    versions: z.array(ConfigVersion).max(mostConfigVersions),
    next: z.int().optional(),
  }),
  errors: ['unauthenticated', 'policy_denied'],
});

/** Most changes that an answer names: with all that is said of each, they fit into a message of the bus (1 MiB). */
export const mostConfigChanges = 100;
/** Most details of one change, and the longest of them, in characters. */
export const mostChangeDetails = 8;
export const longestChangeDetail = 300;

/** One thing that a document changes, and for whom. */
export const ConfigChange = z.strictObject({
  organization: OrganizationId.optional().describe('Absent where it is for all of them'),
  kind: z.enum(['organization', 'trust_rule', 'integration', 'credential', 'policies']),
  name: z.string().max(256).optional(),
  change: z.enum(['added', 'removed', 'changed']),
  details: z
    .array(z.string().max(longestChangeDetail))
    .max(mostChangeDetails)
    .describe('What of it differs, one sentence each'),
  concerns: z.string().max(longestChangeDetail).describe('For whom'),
  live_sessions: z.int().min(0).describe('Of those who were admitted by it, now'),
  live_leases: z.int().min(0).describe('Of it, now'),
});
export type ConfigChange = z.infer<typeof ConfigChange>;

/** What applying a document would do. Nothing was done. */
export const PreviewedConfig = z.strictObject({
  outcome: z.literal('would_apply'),
  version: z.int().min(0).describe('The running one, that it was compared with'),
  unchanged: z.boolean(),
  changes: z.array(ConfigChange).max(mostConfigChanges),
  changes_total: z.int().min(0),
  ending_leases: z
    .int()
    .min(0)
    .describe('Live leases of what it removes: without `end_leases` it is refused for them'),
  ending_sessions: z
    .int()
    .min(0)
    .describe('Live sessions that it no longer admits: they end with it, and so do their leases'),
  locks_out: z
    .string()
    .max(500)
    .optional()
    .describe('Why it no longer admits who asks: without `lock_me_out` it is refused for that'),
});
