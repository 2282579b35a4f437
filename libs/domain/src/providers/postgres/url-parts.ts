/**
 * Splits a connection URL and percent-decodes its parts (RFC 3986 §2.1, so `+` is a plus). Stricter than libpq wherever a character
 * that should have been encoded leaves a second reading: the rest of a password with a raw `/` or `@` would become a host or a
 * database, which error messages, logs and spans do name.
 */
import { UrlRefusal } from './url-refusal.ts';

/** Decoded. What the URL leaves out is empty. */
export interface UrlParts {
  readonly user: string;
  readonly password: string;
  /** Those of the authority, comma-separated as libpq has them; the same number of each. */
  readonly hosts: string;
  readonly ports: string;
  readonly database: string;
  readonly parameters: readonly UrlParameter[];
}

export interface UrlParameter {
  readonly name: string;
  readonly value: string;
}

const notEncoded =
  'a raw "@", "/", "?" or "#" stands where it can not be told what it belongs to; in the password, the user, the database and the ' +
  'parameters write them as %40, %2F, %3F and %23';

/** Throws UrlRefusal. */
export function splitUrl(url: string): UrlParts {
  const rest = /^postgres(?:ql)?:\/\/(.*)$/su.exec(url)?.[1];
  if (rest === undefined) throw new UrlRefusal('it does not begin with postgres:// or postgresql://');
  checkEncoding(rest);
  // Whatever part of a password is mistaken for something else, the "@" that really ends it stands behind it.
  if (/[/?#].*@|@.*@|#/u.test(rest)) throw new UrlRefusal(notEncoded);
  const [, authority = '', path = '', query = ''] = /^([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/u.exec(rest) ?? [];
  const [, userInfo = '', netloc = ''] = /^(?:([^@]*)@)?(.*)$/u.exec(authority) ?? [];
  const [, user = '', password = ''] = /^([^:]*)(?::(.*))?$/u.exec(userInfo) ?? [];
  const hosts = netloc.split(',').map(splitHost);
  return {
    user: decode(user),
    password: decode(password),
    hosts: decode(hosts.map(({ host }) => host).join(',')),
    ports: decode(hosts.map(({ port }) => port).join(',')),
    database: decode(path),
    parameters: query === '' ? [] : query.split('&').map(splitParameter),
  };
}

function checkEncoding(text: string): void {
  if (/[\s\u0000-\u001f\u007f]/u.test(text)) {
    throw new UrlRefusal('it holds a blank, a line break or a control character; write a blank as %20');
  }
  if (/%(?![0-9a-f]{2})/iu.test(text)) {
    throw new UrlRefusal('a "%" begins no percent-encoding; write it as %25');
  }
  if (!text.isWellFormed()) throw new UrlRefusal('it is not well-formed Unicode');
  if (text.includes('%00')) throw new UrlRefusal('it holds a NUL character, which PostgreSQL has no use for');
}

/** An IPv6 address stands in brackets (RFC 3986 §3.2.2), because of its colons. */
function splitHost(netloc: string): { readonly host: string; readonly port: string } {
  const [, bracketed, bare, port = ''] = /^(?:\[([^\]]+)\]|([^:[\]]*))(?::(.*))?$/u.exec(netloc) ?? [];
  const host = bracketed ?? bare;
  if (host === undefined) throw new UrlRefusal('a host is not in the form name:port or [IPv6 address]:port');
  return { host, port };
}

function splitParameter(text: string): UrlParameter {
  const [name = '', value, ...more] = text.split('=');
  if (value === undefined || more.length > 0) {
    throw new UrlRefusal(
      'its parameters are not in the form name=value&name=value; in a value write "=" as %3D and "&" as %26',
    );
  }
  return { name: decode(name), value: decode(value) };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new UrlRefusal('something that is percent-encoded in it is not UTF-8');
  }
}
