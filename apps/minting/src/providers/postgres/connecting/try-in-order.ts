/**
 * Tries the servers that a URL names, one after the other, until one will do (PostgreSQL documentation §34.1.1.3). A host that can't be
 * reached, or has not the attributes that are asked for, leads to the next; one that refuses ends it, so that a wrong password or a
 * certificate that does not verify is told and not hidden by another host.
 */
import { targetSessionAttributesOf } from '@mayfly/domain';
import { ProviderUnavailable, type ProviderFailure } from '../../provider-error.ts';
import type { Attempt } from './admin-client.ts';
import type { AdminConnection } from './admin-url.ts';
import { connectionFailure, UnwantedServer, type ConnectionFailure } from './connection-failure.ts';
import { encryptionsFor } from './tls-options.ts';

export interface TryOptions<Connected> {
  readonly connection: AdminConnection;
  /** For all tries together, in milliseconds. */
  readonly limitMs: number;
  /** Rejects with whatever went wrong. */
  readonly attempt: (attempt: Attempt) => Promise<Connected>;
}

/** Throws ProviderRejected or ProviderUnavailable. */
export async function tryInOrder<Connected>(options: TryOptions<Connected>): Promise<Connected> {
  const { connection, limitMs } = options;
  const wanted = targetSessionAttributesOf(connection);
  const rounds: readonly Attempt['wanted'][] = wanted === 'prefer-standby' ? ['standby', 'any'] : [wanted];
  const tries = rounds.flatMap((round) => connection.hosts.map((host) => ({ host, wanted: round })));
  const until = performance.now() + limitMs;
  const failures: ProviderFailure[] = [];
  for (const [index, { host, wanted: round }] of tries.entries()) {
    const leftMs = until - performance.now();
    if (index > 0 && leftMs <= 0) break;
    // What is left is divided, so that one host that is silent leaves time for the others.
    const share = leftMs / (tries.length - index);
    const result = await tryHost(options, { host, wanted: round, limitMs: shorter(connection, share) });
    if (!('failure' in result)) return result.connected;
    if (result.next !== 'next_host') throw result.failure;
    failures.push(result.failure);
  }
  throw summary(failures);
}

/** With TLS and without, as `sslmode` has it. */
async function tryHost<Connected>(
  { connection, attempt }: TryOptions<Connected>,
  at: Omit<Attempt, 'encryption'>,
): Promise<{ readonly connected: Connected } | ConnectionFailure> {
  const until = performance.now() + at.limitMs;
  let before: ConnectionFailure | undefined;
  for (const encryption of encryptionsFor(connection, at.host)) {
    try {
      const limitMs = Math.max(1, until - performance.now());
      return { connected: await attempt({ ...at, limitMs, encryption }) };
    } catch (error) {
      const now = connectionFailure(error);
      // After a refusal without TLS, that there is no TLS says nothing.
      const says = encryption === 'tls' && now.next === 'other_encryption' ? (before ?? now) : now;
      if (now.next !== 'other_encryption') return says;
      before = says;
    }
  }
  return before ?? { failure: unreachable(), next: 'next_host' };
}

function shorter({ connectTimeoutSeconds = 0 }: AdminConnection, shareMs: number): number {
  return connectTimeoutSeconds > 0 ? Math.min(connectTimeoutSeconds * 1000, shareMs) : shareMs;
}

/** Of all hosts: that none has the attributes is certain only if every host could be asked. */
function summary(failures: readonly ProviderFailure[]): ProviderFailure {
  const unwanted = failures.filter((failure) => failure instanceof UnwantedServer);
  const others = failures.filter((failure) => !(failure instanceof UnwantedServer));
  const last = others.at(-1) ?? unwanted[0] ?? unreachable();
  if (unwanted.length === 0 || others.length === 0) return last;
  return new ProviderUnavailable(
    'of the servers that the admin URL names, some cannot be reached, and the others are not what target_session_attrs asks for',
    { cause: last.cause },
  );
}

function unreachable(): ProviderUnavailable {
  return new ProviderUnavailable('the database cannot be reached');
}
