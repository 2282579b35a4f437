/** Asking for a lease, opening its secret, and giving it back. */
import { http, JsonObject, type EndOutcome, type IssuedLease } from '@mayfly/contracts';
import { providerDefinitions, Secret } from '@mayfly/domain';
import { hasEnded, type Session } from '../api/session.ts';
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
    { signal },
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

/** What of a lease counts when it is given back. `expires_at` is its latest end that is known. */
export type GivenBack = Pick<IssuedLease, 'lease_id' | 'credential' | 'expires_at'>;

/** Gives leases back and tells honestly what that means for each. Never throws: what can't be ended now ends at its TTL. */
export async function giveBack(
  session: Session,
  leases: readonly GivenBack[],
  printer: Printer,
  signal?: AbortSignal,
): Promise<void> {
  await Promise.all(
    leases.map(async (lease) => {
      try {
        const ended = await session.call(http.leases.deleteLease, { lease_id: lease.lease_id }, { signal });
        const note = endNote(lease, ended);
        if (note !== undefined) printer.note(note);
      } catch (error) {
        // The leases of a session end with it, which is told once for all of them.
        if (hasEnded(error)) return;
        printer.note(
          `${lease.credential} could not be given back; it ends at ${clockTime(lease.expires_at)}.`,
        );
      }
    }),
  );
}

/** Tells once, as soon as any call finds out, that the session is over before the command is. */
export function noteEndOf(session: Session, printer: Printer): void {
  session.whenEnded(() => printer.note('The session has ended, and its credentials end with it.'));
}

/** Undefined when it is dead, as it should be. */
function endNote({ credential, expires_at }: GivenBack, { outcome, by }: EndOutcome): string | undefined {
  switch (outcome) {
    case 'revoked':
    case 'already_ended':
      return undefined;
    case 'eventual':
    case 'expiry_only':
      return `${credential} can't be called back at once; it is dead by ${clockTime(by ?? expires_at)}.`;
    case 'ending':
      return `${credential} is given back but may still work; Mayfly goes on ending it until it is dead.`;
    case 'failing':
      return `${credential} is given back but may still work: its upstream would not end it so far. Mayfly goes on until it is dead.`;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
