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

/** Every secret that is in any of the places. */
export function sweep(secrets: readonly SweptSecret[], places: readonly SweptPlace[]): Finding[] {
  const findings: Finding[] = [];
  for (const secret of secrets) {
    if (secret.value.length < 12) throw new Error(`${secret.name} is too short to be looked for`);
    for (const [encoding, bytes] of encodingsOf(secret.value)) {
      for (const place of places) {
        if (place.content.includes(bytes))
          findings.push({ secret: secret.name, place: place.name, encoding });
      }
    }
  }
  return findings;
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
