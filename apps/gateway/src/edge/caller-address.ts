/**
 * Whose request it is, by address: the one way to tell. A caller who reaches the gateway directly has the address of the socket.
 * Behind proxies all callers share that one, so the addresses that the proxies have written into `X-Forwarded-For` are read, from the
 * last, which the nearest proxy wrote, and only for as long as what wrote them is a proxy that the configuration trusts: whatever a
 * caller puts there himself lies beyond that and is never looked at.
 */
import { BlockList } from 'node:net';
import { canonicalAddress } from '@mayfly/contracts';

const familyOf = (canonical: string) => (canonical.includes(':') ? 'ipv6' : 'ipv4');

export class TrustedProxies {
  readonly #ranges = new BlockList();

  /**
   * @param setting Addresses and CIDR ranges, separated by commas; undefined trusts none.
   * @throws Error with the part that is neither.
   */
  constructor(setting?: string) {
    for (const part of (setting ?? '').split(',').map((text) => text.trim())) {
      if (part !== '') this.#add(part);
    }
  }

  /** Whether a socket from this address comes from a proxy, so that it stands for many callers. */
  has(address: string | undefined): boolean {
    const canonical = canonicalAddress(address ?? '');
    return canonical !== undefined && this.#ranges.check(canonical, familyOf(canonical));
  }

  /**
   * The caller's canonical address. `undefined` when there is none to be told: a trusted proxy has written something else, such as
   * `unknown`. Such a request is refused, since any address that were assumed could be one that a policy lets in.
   */
  callerOf(socketAddress: string | undefined, forwardedFor: string | undefined): string | undefined {
    // An entry that is empty is one: what stands before it was not written by the proxy that left it empty.
    const written = forwardedFor === undefined || forwardedFor.trim() === '' ? [] : forwardedFor.split(',');
    let caller = canonicalAddress(socketAddress ?? '');
    while (caller !== undefined && written.length > 0 && this.has(caller)) {
      caller = canonicalAddress((written.pop() ?? '').trim());
    }
    return caller;
  }

  #add(part: string): void {
    const [, written = '', prefix] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(part) ?? [];
    const address = canonicalAddress(written);
    // The form is demanded of settings: a port or a zone here is a mistake.
    const isPlain = address !== undefined && !/[[\]%]/.test(written) && !/\.\d+:\d+$/.test(written);
    const family = familyOf(address ?? '');
    const isMapped = family === 'ipv4' && written.includes(':');
    const bits = Number(prefix ?? (isMapped ? 128 : family === 'ipv4' ? 32 : 128)) - (isMapped ? 96 : 0);
    if (address === undefined || !isPlain || bits < 0 || bits > (family === 'ipv4' ? 32 : 128)) {
      throw new Error(`"${part.slice(0, 60)}" is neither an address nor a range such as 10.0.0.0/8`);
    }
    this.#ranges.addSubnet(address, bits, family);
  }
}

/**
 * What counts as one source in limits: an IPv4 address, or the /64 network of an IPv6 one, because one subscriber has a whole /64
 * (RFC 6177 §2) and could come from another address of it each time. Takes a canonical address.
 */
export function sourceOf(canonical: string): string {
  if (!canonical.includes(':')) return canonical;
  const [head = [], tail = []] = canonical
    .split('::', 2)
    .map((groups) => groups.split(':').filter((group) => group !== ''));
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => '0');
  return `${[...head, ...zeros, ...tail].slice(0, 4).join(':')}::/64`;
}
