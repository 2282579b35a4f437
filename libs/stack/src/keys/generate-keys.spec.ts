import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createUser } from '@nats-io/nkeys';
import {
  calculateJwkThumbprint,
  CompactEncrypt,
  compactDecrypt,
  importJWK,
  jwtVerify,
  SignJWT,
  type JWK,
} from 'jose';
import { generateKeys } from './generate-keys.ts';

describe('generateKeys', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'mayfly-keys-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  function files(): string[] {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
      .sort();
  }
  function contents(): Record<string, string> {
    return Object.fromEntries(files().map((name) => [name, readFileSync(join(folder, name), 'utf8')]));
  }
  function firstKey(name: string): JWK {
    const { keys } = JSON.parse(readFileSync(join(folder, `${name}.jwks.json`), 'utf8')) as { keys: JWK[] };
    if (keys[0] === undefined) throw new Error(`${name} is empty`);
    return keys[0];
  }

  it('makes every key in its place', async () => {
    await generateKeys(folder);
    expect(files()).toEqual([
      'audit/checkpoint.jwks.json',
      'audit/nats.nk',
      'gateway/nats.nk',
      'minting/handle.jwks.json',
      'minting/nats.nk',
      'minting/sealing.jwks.json',
      'minting/tool-token.jwks.json',
      'policy/assertion.jwks.json',
      'policy/grant.jwks.json',
      'policy/nats.nk',
      'policy/sealing.jwks.json',
      'policy/session-token.jwks.json',
      'public/assertion.jwks.json',
      'public/checkpoint.jwks.json',
      'public/grant.jwks.json',
      'public/minting-sealing.jwks.json',
      'public/nats-users.json',
      'public/policy-sealing.jwks.json',
      'public/session-token.jwks.json',
      'public/tool-token.jwks.json',
      'revocation/nats.nk',
      'setup/nats.nk',
    ]);
  });

  it('closes private files and their folders to others', async () => {
    await generateKeys(folder);
    for (const name of files().filter((file) => !file.startsWith('public/'))) {
      expect([name, statSync(join(folder, name)).mode & 0o777]).toEqual([name, 0o600]);
      expect([name, statSync(dirname(join(folder, name))).mode & 0o777]).toEqual([name, 0o700]);
    }
    chmodSync(join(folder, 'policy/grant.jwks.json'), 0o644);
    await generateKeys(folder);
    expect(statSync(join(folder, 'policy/grant.jwks.json')).mode & 0o777).toBe(0o600);
  });

  it('puts no private part into public/', async () => {
    await generateKeys(folder);
    for (const name of files().filter((file) => file.startsWith('public/'))) {
      const text = readFileSync(join(folder, name), 'utf8');
      expect(text).not.toMatch(/"(?:d|k|p|q)":/u);
      expect(text).not.toMatch(/\bSU[A-Z2-7]{56}\b/u);
    }
  });

  it('keeps what is there and makes only what is missing', async () => {
    await generateKeys(folder);
    const before = contents();
    rmSync(join(folder, 'public/grant.jwks.json'));
    rmSync(join(folder, 'audit/checkpoint.jwks.json'));
    await generateKeys(folder);
    const after = contents();
    const changed = Object.keys(before).filter((name) => before[name] !== after[name]);
    expect(changed).toEqual(['audit/checkpoint.jwks.json', 'public/checkpoint.jwks.json']);
  });

  it('gives everyone the same keys when several make them at once', async () => {
    const all = await Promise.all([1, 2, 3, 4].map(() => generateKeys(folder)));
    expect(new Set(all.map(({ natsUsers }) => JSON.stringify(natsUsers))).size).toBe(1);
    expect(files().filter((name) => name.endsWith('.new'))).toEqual([]);
  });

  it('makes pairs that belong together, named by their RFC 7638 thumbprint', async () => {
    await generateKeys(folder);
    const [signing, verifying] = [firstKey('policy/grant'), firstKey('public/grant')];
    expect(verifying.kid).toBe(await calculateJwkThumbprint(verifying));
    const token = await new SignJWT({})
      .setProtectedHeader({ alg: 'EdDSA' })
      .sign(await importJWK(signing, 'EdDSA'));
    await jwtVerify(token, await importJWK(verifying, 'EdDSA'));

    const sealed = await new CompactEncrypt(new TextEncoder().encode('secret'))
      .setProtectedHeader({ alg: 'ECDH-ES', enc: 'A256GCM' })
      .encrypt(await importJWK(firstKey('public/policy-sealing'), 'ECDH-ES'));
    const opened = await compactDecrypt(sealed, await importJWK(firstKey('policy/sealing'), 'ECDH-ES'));
    expect(new TextDecoder().decode(opened.plaintext)).toBe('secret');

    const handle = firstKey('minting/handle');
    expect(Buffer.from(handle.k ?? '', 'base64url')).toHaveLength(32);
  });

  it('publishes a key that was added for rotation', async () => {
    await generateKeys(folder);
    const added = { keys: [firstKey('policy/assertion'), firstKey('policy/grant')] };
    writeFileSync(join(folder, 'policy/grant.jwks.json'), JSON.stringify(added));
    await generateKeys(folder);
    const published = JSON.parse(readFileSync(join(folder, 'public/grant.jwks.json'), 'utf8')) as {
      keys: JWK[];
    };
    expect(published.keys.map(({ kid }) => kid)).toEqual(added.keys.map(({ kid }) => kid));
  });

  it('refuses a damaged file without showing what is in it', async () => {
    await generateKeys(folder);
    writeFileSync(join(folder, 'policy/grant.jwks.json'), '{"keys":[{"d":"TOPSECRET"}]}');
    await expect(generateKeys(folder)).rejects.toThrow(/grant\.jwks\.json is not a key set/u);
    await expect(generateKeys(folder)).rejects.not.toThrow(/TOPSECRET/u);
    rmSync(join(folder, 'policy/grant.jwks.json'));
    writeFileSync(
      join(folder, 'audit/nats.nk'),
      new TextDecoder().decode(createUser().getSeed()).slice(0, 20),
    );
    await expect(generateKeys(folder)).rejects.toThrow(/audit\/nats\.nk is not the seed of a NATS user\.$/u);
  });
});
