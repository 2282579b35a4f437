/** The public keys of the issuers that an organization trusts, from their JWKS address or from a file. */
import { MayflyError } from '@mayfly/contracts';
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  errors,
  type FetchImplementation,
  type JWK,
  type JSONWebKeySet,
  type JWTVerifyGetKey,
} from 'jose';
import { hasPrivateMember } from './jwk.ts';
import { KeyFileError, WatchedFile, type WatchOptions } from './watched-file.ts';

export type IssuerKeySource = { readonly url: string } | { readonly file: string };

/** Most addresses and files that are remembered; the one unused for longest is forgotten. */
const maxSources = 1024;
/** Longest answer of a JWKS address, in bytes, and most keys in it. */
const maxJwksBytes = 262_144;
const maxJwksKeys = 100;
const fetchTimeoutMs = 5_000;
/** After a fetch, an unknown `kid` causes no other for this long: strangers can't make Mayfly hammer an issuer. */
const refetchCooldownMs = 30_000;
const cacheMaxAgeMs = 600_000;
/**
 * Most who wait for fetches at once. While an issuer hangs, anybody can have a token of it looked at; those who wait must
 * not take all that the service can handle at once (256), or a stranger stops the issuance of everybody (I12).
 */
export const maxWaiting = 96;

/**
 * The token names a key that is not among those of its issuer. It may be there later: issuers sign with a new key before everybody
 * sees it, and are asked again at most once in 30 seconds. So it is retryable, as an outage is, and audit is told all the same.
 */
export class UnknownKey extends MayflyError {
  constructor(cause: unknown) {
    super(
      'dependency_unavailable',
      'The key of the identity token is not among those of its issuer, or not yet.',
      {
        cause,
      },
    );
  }
}

/** `https`, or `http` to this machine itself (an issuer for development). */
export function isAcceptableJwksUrl(url: string): boolean {
  if (!URL.canParse(url)) return false;
  const { protocol, hostname, username, password } = new URL(url);
  if (username !== '' || password !== '') return false;
  if (protocol === 'https:') return true;
  return protocol === 'http:' && /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(hostname);
}

export class IssuerKeys {
  /** In the order of last use. */
  readonly #sources = new Map<string, JWTVerifyGetKey>();
  readonly #waiting = { count: 0 };

  constructor(private readonly options: WatchOptions = {}) {}

  /** A resolver that throws `dependency_unavailable` when the keys can't be had, and jose's errors for an unknown key. */
  of(source: IssuerKeySource): JWTVerifyGetKey {
    const name = 'url' in source ? `url ${source.url}` : `file ${source.file}`;
    const resolver = this.#sources.get(name) ?? this.#open(source);
    this.#sources.delete(name);
    this.#sources.set(name, resolver);
    for (const oldest of this.#sources.keys()) {
      if (this.#sources.size <= maxSources) break;
      this.#sources.delete(oldest);
    }
    return resolver;
  }

  #open(source: IssuerKeySource): JWTVerifyGetKey {
    return 'url' in source ? keysAt(source.url, this.#waiting) : keysIn(source.file, this.options);
  }
}

function keysAt(url: string, waiting: { count: number }): JWTVerifyGetKey {
  if (!isAcceptableJwksUrl(url)) throw unavailable(new Error('the JWKS address is neither https nor local'));
  const remote = createRemoteJWKSet(new URL(url), {
    timeoutDuration: fetchTimeoutMs,
    cooldownDuration: refetchCooldownMs,
    cacheMaxAge: cacheMaxAgeMs,
    [customFetch]: fetchBounded,
  });
  return async (header, token) => {
    // Who needs no fetch is answered at once, however many wait.
    const isKnown = remote.jwks()?.keys.some(({ kid }) => kid === header.kid) ?? false;
    const needsFetch = !remote.fresh || (!remote.coolingDown && !isKnown);
    if (needsFetch && waiting.count >= maxWaiting) throw unavailable(new Error('too many wait for keys'));
    waiting.count++;
    try {
      return await remote(header, token);
    } catch (error) {
      throw error instanceof errors.JWKSInvalid ? unavailable(error) : error;
    } finally {
      waiting.count--;
    }
  };
}

/** Everything that can go wrong with a fetch is `dependency_unavailable`; redirects are not followed. */
const fetchBounded: FetchImplementation = async (url, options) => {
  try {
    const response = await fetch(url, options);
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new Error(`the JWKS address answered with status ${response.status}`);
    }
    const body = await readBounded(response);
    return new Response(JSON.stringify(publicSet(body)));
  } catch (error) {
    throw unavailable(error);
  }
};

async function readBounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  // Leaving the loop by an exception cancels the body.
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    length += chunk.byteLength;
    if (length > maxJwksBytes) throw new Error('the JWKS is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function keysIn(path: string, options: WatchOptions): JWTVerifyGetKey {
  let file: Promise<WatchedFile<JWTVerifyGetKey>> | undefined;
  return async (header, token) => {
    file ??= WatchedFile.open(path, { private: false, parse: parseFile }, options);
    const opened = await file.catch((cause: unknown) => {
      file = undefined;
      throw unavailable(cause);
    });
    const resolver = await opened.current();
    return resolver(header, token);
  };
}

function parseFile(path: string, content: string): JWTVerifyGetKey {
  try {
    return createLocalJWKSet(publicSet(content));
  } catch {
    throw new KeyFileError(`${path} is not a JWK Set of at most ${maxJwksKeys} public keys.`);
  }
}

/** The keys of a JWK Set. Throws for what is none, and for private keys. */
function publicSet(json: string): JSONWebKeySet {
  const set: unknown = JSON.parse(json);
  assertPublicSet(set);
  return { keys: set.keys.map(withEitherName) };
}

/**
 * `EdDSA` (RFC 8037 §3.1) and `Ed25519` (RFC 9864 §2.2) are two names of one algorithm for a key of that curve; without an `alg` the
 * key serves tokens that say either.
 */
function withEitherName(jwk: JWK): JWK {
  if (jwk.kty !== 'OKP' || jwk.crv !== 'Ed25519') return jwk;
  if (jwk.alg !== 'EdDSA' && jwk.alg !== 'Ed25519') return jwk;
  return Object.fromEntries(Object.entries(jwk).filter(([member]) => member !== 'alg'));
}

function assertPublicSet(value: unknown): asserts value is JSONWebKeySet {
  const keys = typeof value === 'object' && value !== null && 'keys' in value ? value.keys : undefined;
  if (!Array.isArray(keys) || keys.length > maxJwksKeys) throw new Error('not a JWK Set, or too many keys');
  if (keys.some((key: unknown) => typeof key !== 'object' || key === null || hasPrivateMember(key))) {
    throw new Error('a key of the JWK Set is not a public key');
  }
}

function unavailable(cause: unknown): MayflyError {
  return new MayflyError('dependency_unavailable', 'The keys of the token’s issuer cannot be fetched.', {
    cause,
  });
}
