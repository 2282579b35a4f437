/**
 * The one written form of a caller's address. An address has many spellings, and what compares spellings is got around by writing
 * another one: a policy on `203.0.113.0/24` must catch `::ffff:203.0.113.7`, and an auditor must find both under one text. The gateway
 * makes the form where an address enters (`canonicalAddress`); every contract demands it (`SourceIp`).
 */
import { z } from 'zod';

const octet = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const ipv4 = new RegExp(`^${octet}(?:\\.${octet}){3}$`);
const ipv4WithPort = /^([\d.]+):\d{1,5}$/;
const bracketed = /^\[([^[\]]+)\](?::\d{1,5})?$/;
const zone = /%[^%[\]/\s]+$/;
const ipv6Characters = /^[\da-f:.]{2,45}$/i;
const mappedIpv4 = /^::ffff:([\da-f]{1,4}):([\da-f]{1,4})$/;

/**
 * The canonical text of an IP address: dotted decimal for IPv4 and for IPv4 that is mapped into IPv6 (RFC 4291 §2.5.5.2), RFC 5952 for
 * IPv6. A port that a proxy has appended (`192.0.2.1:5678`, `[2001:db8::1]:443`) and an IPv6 zone (RFC 4007 §11) are left out.
 * `undefined` for what is no address, also for octets with leading zeros, which readers take for octal or for decimal.
 */
export function canonicalAddress(written: string): string | undefined {
  if (ipv4.test(written)) return written;
  const withPort = ipv4WithPort.exec(written)?.[1];
  if (withPort !== undefined) return ipv4.test(withPort) ? withPort : undefined;
  const address = (bracketed.exec(written)?.[1] ?? written).replace(zone, '');
  if (!ipv6Characters.test(address) || !address.includes(':')) return undefined;
  // The URL parser of the platform writes an IPv6 host as RFC 5952 does (https://url.spec.whatwg.org/#concept-ipv6-serializer).
  const url = `http://[${address}]/`;
  if (!URL.canParse(url)) return undefined;
  const compressed = new URL(url).hostname.slice(1, -1);
  const [, high, low] = mappedIpv4.exec(compressed) ?? [];
  if (high === undefined || low === undefined) return compressed;
  const bits = [high, low].flatMap((group) => {
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 255];
  });
  return bits.join('.');
}

/** Address of the asker as the gateway saw it, in its canonical text. */
export const SourceIp = z
  .string()
  .max(39)
  .refine((address) => canonicalAddress(address) === address, {
    error: 'must be an IP address in its canonical form',
  });
