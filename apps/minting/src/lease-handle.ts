/**
 * The handle of a lease: all that ending it takes, as it was at the mint, so that a later change of the configuration
 * doesn't strand what was minted before. Sealed by minting for itself; revocation keeps it and can't open it.
 */
import { MayflyError, type GrantClaims, type JsonObject } from '@mayfly/contracts';
import type { HandleBinding, HandleBox } from '@mayfly/tokens';
import { z } from 'zod';

const LeaseHandle = z.strictObject({
  version: z.literal(1),
  provider: z.string(),
  integration_settings: z.record(z.string(), z.json()),
  secret_references: z.array(z.string()),
  /** The provider's own. */
  handle: z.record(z.string(), z.json()),
});
export type LeaseHandle = z.infer<typeof LeaseHandle>;

/** The part of HandleBox that is needed here. */
export type Handles = Pick<HandleBox, 'seal' | 'open'>;

/** Whose handle it is, and the integration as it was at the mint. */
export interface HandleOwner {
  readonly leaseId: string;
  readonly organization: string;
  readonly provider: string;
  readonly integration: {
    readonly name: string;
    readonly settings: JsonObject;
    readonly secret_references: readonly string[];
  };
}

/** Seals a provider's handle together with the integration as it was at the mint. */
export function sealHandle(handles: Handles, grant: GrantClaims, handle: JsonObject): Promise<string> {
  const { jti: leaseId, actor, provider, integration } = grant;
  return sealProviderHandle(
    handles,
    { leaseId, organization: actor.organization, provider, integration },
    handle,
  );
}

/** The same for what no grant is at hand for. */
export function sealProviderHandle(
  handles: Handles,
  { leaseId, organization, provider, integration }: HandleOwner,
  handle: JsonObject,
): Promise<string> {
  const content: LeaseHandle = {
    version: 1,
    provider,
    integration_settings: integration.settings,
    secret_references: [...integration.secret_references],
    handle,
  };
  return handles.seal(content, { leaseId, organization, integration: integration.name });
}

/** Throws `invalid_request` for a handle of another lease, organization, integration or provider. */
export async function openHandle(
  handles: Handles,
  sealed: string,
  binding: HandleBinding,
  provider: string,
): Promise<LeaseHandle> {
  const parsed = LeaseHandle.safeParse(await handles.open(sealed, binding));
  if (!parsed.success || parsed.data.provider !== provider) {
    throw new MayflyError('invalid_request', 'The handle is not one of this provider.', {
      cause: parsed.error,
    });
  }
  return parsed.data;
}
