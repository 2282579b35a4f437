/**
 * The identity issuer of the development stack: it stands for the platform (CI, cloud, identity provider) whose tokens
 * agents and people bring to `POST /v1/token`. Never for production: whoever reads its folder is everybody.
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { importJWK, SignJWT, type JWK, type JWTPayload } from 'jose';
import { keySetText, makeKey, parseKeySet, publicKeySet, type KeySet } from '../keys/json-web-keys.ts';
import { readOrMakeSecretFile, replacePublicFile } from '../keys/key-files.ts';

/** The `iss` of the development issuer. */
export const DEVELOPMENT_ISSUER = 'https://issuer.mayfly.localhost';
/** The `aud` that Mayfly expects in identity tokens. */
export const IDENTITY_AUDIENCE = 'mayfly';

/** Something that signs identity tokens. */
export interface IdentityIssuer {
  readonly issuer: string;
  /** The public key set, for a trust rule's `file:` reference. */
  readonly jwksFile: string;
  readonly publicKeys: KeySet;
  /** Signs a complete payload as it is. */
  sign(payload: JWTPayload, header?: Readonly<Record<string, unknown>>): Promise<string>;
}

/** What of an identity token can be set apart from its own claims. */
export interface IdentityTokenOptions {
  /** Seconds from `now` to the expiry, negative for an expired one; default 600. */
  readonly expiresInSeconds?: number;
  readonly audience?: string | readonly string[];
  readonly issuer?: string;
  readonly now?: Date;
  /** Over the protected header `{alg, typ, kid}`. */
  readonly header?: Readonly<Record<string, unknown>>;
}

/** Opens the issuer in `folder`: an ES256 key, made on first use, and `issuer.jwks.json` beside it. */
export async function openDevelopmentIssuer(
  folder: string,
  issuer = DEVELOPMENT_ISSUER,
): Promise<IdentityIssuer> {
  mkdirSync(folder, { recursive: true, mode: 0o711 });
  const privateFile = join(folder, 'private', 'issuer.jwks.json');
  const text = await readOrMakeSecretFile(privateFile, async () =>
    keySetText({ keys: [await makeKey('es256')] }),
  );
  const keys = parseKeySet(text, privateFile);
  const jwksFile = join(folder, 'issuer.jwks.json');
  const publicKeys = publicKeySet(keys);
  replacePublicFile(jwksFile, keySetText(publicKeys));
  const [signingKey] = keys.keys as readonly [JWK, ...JWK[]];
  const key = await importJWK(signingKey, 'ES256');
  return {
    issuer,
    jwksFile,
    publicKeys,
    sign: (payload, header = {}) =>
      new SignJWT(payload)
        .setProtectedHeader({
          alg: 'ES256',
          typ: 'JWT',
          ...(signingKey.kid ? { kid: signingKey.kid } : {}),
          ...header,
        })
        .sign(key),
  };
}

/** Signs an identity token with `iss`, `aud`, `iat`, `exp`, a fresh `jti` and the given claims, which go before these. */
export function issueIdentityToken(
  issuer: IdentityIssuer,
  claims: JWTPayload & { readonly sub: string },
  options: IdentityTokenOptions = {},
): Promise<string> {
  const now = Math.floor((options.now ?? new Date()).getTime() / 1000);
  const payload: JWTPayload = {
    iss: options.issuer ?? issuer.issuer,
    aud:
      typeof options.audience === 'object' ? [...options.audience] : (options.audience ?? IDENTITY_AUDIENCE),
    iat: now,
    exp: now + (options.expiresInSeconds ?? 600),
    jti: randomUUID(),
    ...claims,
  };
  return issuer.sign(payload, options.header);
}
