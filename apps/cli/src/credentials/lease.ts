/** Asking for a lease, opening its secret, and giving it back. */
import { http, JsonObject, type IssuedLease } from '@mayfly/contracts';
import { providerDefinitions, Secret } from '@mayfly/domain';
import type { Session } from '../api/session.ts';
import { failureOf } from '../failure.ts';
import type { Printer } from '../output/printer.ts';
import { clockTime } from '../output/times.ts';

export interface LeaseRequest {
  readonly credential: string;
  readonly ttlSeconds?: number | undefined;
  readonly scope?: JsonObject | undefined;
  readonly task?: string | undefined;
  readonly justification?: string | undefined;
}

/** A lease whose secret has been opened here. */
export interface OpenedLease {
  readonly lease: Omit<IssuedLease, 'secret' | 'sealed'>;
  /** The provider's secret as JSON text; `secretOf` reads it. */
  readonly secret: Secret;
}

/** @throws CommandFailure or MayflyError; a lease that was issued but can't be opened has been given back by then. */
export async function requestLease(
  session: Session,
  { credential, ttlSeconds, scope, task, justification }: LeaseRequest,
  signal?: AbortSignal,
): Promise<OpenedLease> {
  const { sealed, secret, ...lease } = await session.call(
    http.leases.createLease,
    { credential, ttl_seconds: ttlSeconds, scope, task, justification },
    signal,
  );
  try {
    // The session's key was registered, so a secret in the clear has passed through hands that should not have held it.
    if (sealed === undefined || secret !== undefined) {
      throw failureOf('internal', 'The gateway answered with a secret that is not sealed to this session.');
    }
    const opened = { lease, secret: await session.unseal(sealed) };
    secretOf(opened);
    return opened;
  } catch (error) {
    await session.call(http.leases.deleteLease, { lease_id: lease.lease_id }).catch(() => undefined);
    throw error;
  }
}

/** The secret in the form of its provider, checked by the provider's schema where this mayfly knows it. */
export function secretOf({ lease, secret }: OpenedLease): JsonObject {
  const schema = providerDefinitions.get(lease.provider)?.secret;
  const parsed = JsonObject.safeParse(parseJson(secret.reveal()));
  if (!parsed.success || schema?.safeParse(parsed.data).success === false) {
    throw failureOf('internal', `The secret of ${lease.credential} is not in the form of ${lease.provider}.`);
  }
  return parsed.data;
}

/** Gives leases back and tells honestly what that means for each. Never throws: what can't be ended now ends at its TTL. */
export async function giveBack(
  session: Session,
  leases: readonly OpenedLease[],
  printer: Printer,
  signal?: AbortSignal,
): Promise<void> {
  await Promise.all(
    leases.map(async ({ lease: { lease_id, credential, expires_at } }) => {
      try {
        const ended = await session.call(http.leases.deleteLease, { lease_id }, signal);
        if (ended.outcome === 'eventual' || ended.outcome === 'expiry_only') {
          printer.note(
            `${credential} can't be called back at once; it is dead by ${clockTime(ended.by ?? expires_at)}.`,
          );
        }
      } catch {
        printer.note(`${credential} could not be given back; it ends at ${clockTime(expires_at)}.`);
      }
    }),
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
