/**
 * The parts of compact JWS and JWE (RFC 7515 §7.1, RFC 7516 §7.1): base64url and JSON, read so strictly that every value
 * has just one spelling. Nothing here throws for what it is given: what is malformed is `undefined`.
 */

/** A JSON object out of a token; nothing in it is trusted before the signature or tag is checked. */
export type Members = Readonly<Record<string, unknown>>;

// A BOM is content: it must come out as it went in.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Base64url without padding (RFC 7515 §2). Foreign characters, padding and bits left over at the end (RFC 4648 §3.5) do
 * not come out again when the bytes are encoded, so the comparison refuses them all.
 */
export function decodeBase64url(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes : undefined;
}

export function encodeJson(value: object): string {
  return Buffer.from(JSON.stringify(value), 'utf8').toString('base64url');
}

/** An encoded JSON object. An array or any other value is none. */
export function decodeJson(part: string): Members | undefined {
  const bytes = decodeBase64url(part);
  const text = bytes && decodeUtf8(bytes);
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Bytes that are no UTF-8 are refused, not replaced. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

export function isObject(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Whether a header has no other members than these. This is what refuses `crit`, `b64`, `zip`, `jwk`, `jku`, `x5c` and
 * whatever else would change how a token is read.
 */
export function hasOnly(header: Members, allowed: ReadonlySet<string>): boolean {
  return Object.keys(header).every((member) => allowed.has(member));
}
