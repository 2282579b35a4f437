/**
 * Keeps secrets out of log lines, in two independent layers. `redactFields` goes through the logged object and replaces
 * what stands under a telling name, at any depth; `redactText` goes over the finished line and replaces what looks
 * like a secret wherever it stands, also inside messages and stacks.
 */
import { types } from 'node:util';
import { errorFields } from './error-fields.ts';

const redacted = '[redacted]';

/** Compared without case, hyphens and underscores: `access_token`, `accessToken` and `Access-Token` are one. */
const secretNames = new Set(
  [
    'secret client_secret secrets password passwd passphrase pgpassword verifier',
    'token access_token refresh_token id_token subject_token actor_token session_token identity_token tool_token jwt',
    'authorization proxy_authorization cookie set_cookie dpop proof api_key',
    'handle grant assertion sealed private_key signing_key sealing_key seed',
    'connection_string database_url postgres_url nats_url admin_url url_with_password',
    'parameters query detail',
  ].flatMap((line) => line.split(' ').map(normalized)),
);

/** Members of a JWK that are private (RFC 7518 §6.2.2, §6.3.2, §6.4.1), redacted where `kty` stands beside them. */
const privateJwkMembers = new Set(['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']);

/** Bounds of one logged object: what is deeper, longer or more is cut, so that no input can blow up a line. */
const maxDepth = 8;
const maxEntries = 100;
const maxText = 8_192;

/** A copy of `value` that is safe to log: secrets replaced, errors reduced to safe fields, size bounded. */
export function redactFields(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return value.length > maxText ? `${value.slice(0, maxText)}…` : value;
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null) return value;
  if (isError(value)) return redactFields(errorFields(value), depth + 1);
  if (depth >= maxDepth) return '[deeper]';
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (Array.isArray(value)) return value.slice(0, maxEntries).map((item) => redactFields(item, depth + 1));
  if ('toJSON' in value && typeof value.toJSON === 'function') {
    return redactFields((value.toJSON as () => unknown)(), depth + 1);
  }
  const isJwk = 'kty' in value;
  return Object.fromEntries(
    Object.entries(value)
      .slice(0, maxEntries)
      .map(([name, field]) => {
        const hidden = secretNames.has(normalized(name)) || (isJwk && privateJwkMembers.has(name));
        return [
          name,
          hidden && field !== undefined && field !== null ? redacted : redactFields(field, depth + 1),
        ];
      }),
  );
}

/**
 * Applied to JSON text: no pattern crosses a quote or splits an escape, so that the line stays JSON. Repetitions that
 * could start anywhere are bounded, so that a long line costs linear time.
 */
const telling: readonly (readonly [RegExp, string])[] = [
  // user:password@ of any URL
  [/\b([a-z][a-z\d+.-]{0,20}:\/\/[^\s"/:@]{0,256}):[^\s"/]{1,512}@/gi, `$1:${redacted}@`],
  // compact JWS and JWE: the header of both starts with {" in base64url
  [/\beyJ[\w-]{6,}\.[\w-]*(?:\.[\w-]*){0,3}/g, redacted],
  [/\b(Bearer|DPoP|Basic)\s+[\w.~+/=-]{8,}/gi, `$1 ${redacted}`],
  [/SCRAM-SHA-256\$[^\s"'\\]+/gi, `SCRAM-SHA-256$${redacted}`],
  [/\b(password)(\s+|\s*=\s*)'(?:[^'"\\]|\\.|'')*'/gi, `$1$2'${redacted}'`],
  [
    /-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?:[^"\\]|\\[^"])*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|(?=\\?")|$)/g,
    redacted,
  ],
];

/** `text` with everything replaced that looks like a secret: URL passwords, tokens, SCRAM verifiers, private keys. */
export function redactText(text: string): string {
  return telling.reduce((safe, [pattern, replacement]) => safe.replace(pattern, replacement), text);
}

/** Also true for errors of another realm, which are not `instanceof Error` here. */
export function isError(value: unknown): value is Error {
  return value instanceof Error || types.isNativeError(value);
}

function normalized(name: string): string {
  return name.replaceAll(/[-_]/g, '').toLowerCase();
}
