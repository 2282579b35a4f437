/**
 * Why a connection was not had, as one of the two failures of a provider, and what to try next: the order is libpq's
 * (PostgreSQL documentation §34.1.1.3). Sentences are for whoever operates Mayfly; nothing of the URL is in them or in their causes.
 */
import type { TargetSessionAttributes } from '@mayfly/domain';
import { ProviderRejected, ProviderUnavailable, type ProviderFailure } from '../../provider-error.ts';
import { sqlStateOf, upstreamFailure } from '../upstream-error.ts';
import { errorFields, loggedCause } from './logged-cause.ts';

/** `other_encryption`: the same host without TLS, or with it; where `sslmode` has no other, as `give_up`. */
export type NextTry = 'other_encryption' | 'next_host' | 'give_up';

export interface ConnectionFailure {
  readonly failure: ProviderFailure;
  readonly next: NextTry;
}

/** The server is there, and not the kind that `target_session_attrs` asks for. */
export class UnwantedServer extends ProviderRejected {
  constructor(wanted: TargetSessionAttributes) {
    super(
      `none of the servers that the admin URL names is ${wanted}, which is asked for by target_session_attrs or, with several hosts, ` +
        'because Mayfly writes; name one that is',
    );
  }
}

/** Something on the way answers for the server and does not hand on what is asked of it. */
export function throughPooler(error?: unknown): ProviderRejected {
  return new ProviderRejected(
    'the admin URL leads to a connection pooler (PgBouncer or its like), through which time-outs and settings of a session do not hold; ' +
      'name the host and port of the database server itself',
    { cause: error === undefined ? undefined : loggedCause(error) },
  );
}

export function connectionFailure(error: unknown): ConnectionFailure {
  if (error instanceof UnwantedServer) return { failure: error, next: 'next_host' };
  if (error instanceof ProviderRejected || error instanceof ProviderUnavailable)
    return { failure: error, next: 'give_up' };
  const state = sqlStateOf(error);
  if (state !== undefined) return refusedByServer(state, error);
  const { code, message } = errorFields(error);
  const cause = loggedCause(error);
  const rejected = (reason: string, next: NextTry) => ({
    failure: new ProviderRejected(reason, { cause }),
    next,
  });
  // The driver has no codes for these three.
  if (message === 'The server does not support SSL connections') {
    return rejected(
      'the database server has no TLS, and sslmode of the admin URL asks for it; turn TLS on at the server, or choose another sslmode',
      'other_encryption',
    );
  }
  if (/^(?:SASL|Unknown authenticationOk)/.test(message)) {
    return rejected(
      'the database server asks for a way of logging in that Mayfly does not know, or gave a wrong answer to one that it does; it should be scram-sha-256',
      'give_up',
    );
  }
  const unreachable = new ProviderUnavailable('the database cannot be reached', { cause });
  if (message === 'There was an error establishing an SSL connection')
    return { failure: unreachable, next: 'other_encryption' };
  const distrusted = code === undefined ? undefined : certificateProblem(code);
  if (distrusted !== undefined) {
    return rejected(`the certificate of the database server does not verify: ${distrusted}`, 'give_up');
  }
  if (code !== undefined && /^(?:ERR_SSL_|ERR_OSSL_|ERR_TLS_|EPROTO$)/.test(code)) {
    return rejected(
      'the database server and Mayfly could not agree on TLS: on its version, a cipher, or the certificate that sslcert names',
      'other_encryption',
    );
  }
  return { failure: unreachable, next: 'next_host' };
}

function refusedByServer(state: string, error: unknown): ConnectionFailure {
  switch (state) {
    // A server says so only to what is no PostgreSQL client; poolers to each parameter that they do not hand on.
    case '08P01':
    case '0A000':
      return { failure: throughPooler(error), next: 'give_up' };
    // Also what pg_hba.conf says to a connection without TLS, or with it.
    case '28000': {
      const reason =
        "the database does not accept the integration's privileged credential: its role may not log in, or pg_hba.conf has no " +
        'entry for it, with the sslmode of the admin URL';
      return {
        failure: new ProviderRejected(reason, { cause: loggedCause(error) }),
        next: 'other_encryption',
      };
    }
    // `cannot_connect_now`: it starts, stops or recovers.
    case '57P03':
      return { failure: upstreamFailure(loggedCause(error), false), next: 'next_host' };
    default:
      return { failure: upstreamFailure(loggedCause(error), false), next: 'give_up' };
  }
}

/** From Node's codes (its documentation: "X509 certificate error codes"); undefined for what is none of them. */
function certificateProblem(code: string): string | undefined {
  switch (code) {
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
    case 'HOSTNAME_MISMATCH':
      return 'it is for another host than the admin URL names; name the host as in the certificate, or choose sslmode=verify-ca';
    case 'CERT_HAS_EXPIRED':
    case 'CERT_NOT_YET_VALID':
      return "it has expired or is not valid yet; renew it, or set the machine's clock";
    default:
      return certificateCodes.has(code)
        ? 'no CA that is trusted has signed it; name the CA by sslrootcert in the admin URL'
        : undefined;
  }
}

const certificateCodes = new Set([
  ...['UNABLE_TO_GET_ISSUER_CERT', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
  ...['DEPTH_ZERO_SELF_SIGNED_CERT', 'SELF_SIGNED_CERT_IN_CHAIN', 'CERT_CHAIN_TOO_LONG', 'CERT_REVOKED'],
  ...['INVALID_CA', 'INVALID_PURPOSE', 'CERT_UNTRUSTED', 'CERT_REJECTED', 'PATH_LENGTH_EXCEEDED'],
  ...['CERT_SIGNATURE_FAILURE', 'UNABLE_TO_DECRYPT_CERT_SIGNATURE', 'UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY'],
  ...['ERROR_IN_CERT_NOT_BEFORE_FIELD', 'ERROR_IN_CERT_NOT_AFTER_FIELD', 'OUT_OF_MEM'],
]);
