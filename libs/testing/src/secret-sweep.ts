/**
 * The sweep of invariant I1: looks for secrets in everything that Mayfly wrote, said or stored, in every encoding in which
 * one plausibly ends up there.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';

/** A secret, with a name that may be printed. */
export interface SweptSecret {
  readonly name: string;
  readonly value: string;
}

/** A place to look in. */
export interface SweptPlace {
  readonly name: string;
  readonly content: Buffer;
}

export interface Finding {
  readonly secret: string;
  readonly place: string;
  readonly encoding: string;
}

/** The value as it may appear. Base64 has three forms, by where the value begins within a longer text. */
export function encodingsOf(value: string): Map<string, Buffer> {
  const bytes = Buffer.from(value, 'utf8');
  const forms = new Map<string, Buffer>([
    ['raw', bytes],
    ['hex', Buffer.from(bytes.toString('hex'))],
    ['URL-encoded', Buffer.from(encodeURIComponent(value))],
    ['JSON in JSON', Buffer.from(JSON.stringify(JSON.stringify(value)).slice(3, -3))],
    ['UTF-16', Buffer.from(value, 'utf16le')],
  ]);
  for (const offset of [0, 1, 2]) {
    const shifted = Buffer.concat([Buffer.alloc(offset), bytes]);
    // Cut what depends on the neighbours: the characters that hold bits of the offset, and those of an open last group.
    const first = Math.ceil((offset * 8) / 6);
    const whole = Math.floor((shifted.length * 8) / 6);
    const base64 = shifted.toString('base64').slice(first, whole);
    forms.set(`base64 at ${offset}`, Buffer.from(base64));
    forms.set(`base64url at ${offset}`, Buffer.from(base64.replaceAll('+', '-').replaceAll('/', '_')));
  }
  return forms;
}

/** One form of one secret, to be looked for. */
interface Needle {
  readonly secret: string;
  readonly encoding: string;
  readonly bytes: Buffer;
}

/**
 * Every secret that is in any of the places. One pass over each place, however many secrets: at every position the last four
 * bytes decide, by a table of bits, whether any secret can end there.
 */
export function sweep(secrets: readonly SweptSecret[], places: readonly SweptPlace[]): Finding[] {
  const byLastBytes = new Map<number, Needle[]>();
  const mayEnd = new Uint8Array(2 ** 21);
  for (const { name, value } of secrets) {
    if (value.length < 12) throw new Error(`${name} is too short to be looked for`);
    for (const [encoding, bytes] of encodingsOf(value)) {
      const key = bytes.readInt32LE(bytes.length - 4);
      const bit = bitOf(key);
      mayEnd[bit >> 3] = (mayEnd[bit >> 3] ?? 0) | (1 << (bit & 7));
      const needles = byLastBytes.get(key);
      if (needles === undefined) byLastBytes.set(key, [{ secret: name, encoding, bytes }]);
      else needles.push({ secret: name, encoding, bytes });
    }
  }
  return places.flatMap((place) => sweepPlace(place, byLastBytes, mayEnd));
}

function sweepPlace(
  { name: place, content }: SweptPlace,
  byLastBytes: ReadonlyMap<number, readonly Needle[]>,
  mayEnd: Uint8Array,
): Finding[] {
  const found = new Map<string, Finding>();
  let window = 0;
  for (let index = 0; index < content.length; index++) {
    window = (window >>> 8) | ((content[index] ?? 0) << 24);
    const bit = bitOf(window);
    if (((mayEnd[bit >> 3] ?? 0) & (1 << (bit & 7))) === 0) continue;
    for (const { secret, encoding, bytes } of byLastBytes.get(window) ?? []) {
      const start = index + 1 - bytes.length;
      if (start < 0 || bytes.compare(content, start, index + 1) !== 0) continue;
      found.set(`${secret} ${encoding}`, { secret, place, encoding });
    }
  }
  return [...found.values()];
}

/** Four bytes to 24 bits. */
function bitOf(window: number): number {
  return Math.imul(window, 0x9e3779b1) >>> 8;
}

/** Every file below a folder, as it lies on the disk. Files that vanish while being read are passed over. */
export function filesBelow(folder: string, label: string): SweptPlace[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).flatMap((name) => {
    const path = join(folder, name);
    try {
      if (!statSync(path).isFile()) return [];
      return [{ name: `${label}/${relative(folder, path)}`, content: readFileSync(path) }];
    } catch {
      return [];
    }
  });
}
