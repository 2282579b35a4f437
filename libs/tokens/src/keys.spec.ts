import { chmod, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  newKeyFolder,
  newSealingJwk,
  newSigningJwk,
  publicPartOf,
  without,
  type KeyFolder,
} from './key-fixtures.ts';
import { loadSigningKeys, loadVerificationKeys, publicJwks } from './keys.ts';

let folder: KeyFolder;
beforeAll(async () => {
  folder = await newKeyFolder();
});
afterAll(() => folder.remove());

describe('loadSigningKeys', () => {
  it.each([0o640, 0o604, 0o660])('refuses a file of mode %s, which others can read', async (mode) => {
    const path = await folder.write('open.json', [await newSigningJwk('a')]);
    await chmod(path, mode);
    await expect(loadSigningKeys(path)).rejects.toThrow(/can be read by others.*chmod 600/);
  });

  it('refuses another curve, a missing kid, a repeated kid, a public key, an empty set and what is no JSON', async () => {
    const jwk = await newSigningJwk('a');
    const nameless = without(jwk, 'kid');
    const write = (name: string, keys: object[]) => folder.write(name, keys);
    await expect(loadSigningKeys(await write('1', [await newSealingJwk('x')]))).rejects.toThrow(
      /Key 1 .* is not a/,
    );
    await expect(loadSigningKeys(await write('2', [nameless]))).rejects.toThrow(/Key 1 .* has no kid/);
    await expect(loadSigningKeys(await write('3', [jwk, jwk]))).rejects.toThrow(/same kid/);
    await expect(loadSigningKeys(await write('4', [publicPartOf(jwk)]))).rejects.toThrow(/is not a private/);
    await expect(loadSigningKeys(await write('5', []))).rejects.toThrow(/is not a JWK Set/);
    const garbage = await write('6', []);
    await writeFile(garbage, `{"keys": [{"d": "${jwk.d}"`);
    const failure = await loadSigningKeys(garbage).catch((error: unknown) => String(error));
    expect(failure).toMatch(/is not a JWK Set/);
    expect(failure).not.toContain(jwk.d);
    await expect(loadSigningKeys('/nonexistent/keys.json')).rejects.toThrow(/cannot be opened \(ENOENT\)/);
  });

  it('publishes public parts only', async () => {
    const keys = [await newSigningJwk('a'), await newSigningJwk('b', 'ES256')];
    const published = await publicJwks(await loadSigningKeys(await folder.write('publish.json', keys)));
    const [first, second] = keys.map(publicPartOf);
    expect(published).toEqual({ keys: [first, second] });
    expect(JSON.stringify(published)).not.toContain('"d"');
  });
});

describe('loadVerificationKeys', () => {
  it('refuses a file with a private part', async () => {
    const path = await folder.write('leak.json', [await newSigningJwk('a')]);
    await expect(loadVerificationKeys(path)).rejects.toThrow(/holds a private key/);
  });

  it('takes up a changed file without a restart, and forgets the key that was removed', async () => {
    const [old, fresh] = [await newSigningJwk('old'), await newSigningJwk('fresh')].map(publicPartOf) as [
      object,
      object,
    ];
    const path = await folder.write('rotate.json', [old], 0o644);
    const keys = await loadVerificationKeys(path, { checkEverySeconds: 0 });
    expect(await keys.find('old')).toBeDefined();
    expect(await keys.find('fresh')).toBeUndefined();
    await folder.write('rotate.json', [fresh], 0o644);
    expect(await keys.find('old')).toBeUndefined();
    expect(await keys.find('fresh')).toBeDefined();
  });

  it('does not look at the file again within the interval', async () => {
    const path = await folder.write('calm.json', [publicPartOf(await newSigningJwk('a'))], 0o644);
    const keys = await loadVerificationKeys(path, { checkEverySeconds: 3600 });
    await writeFile(path, 'broken');
    expect(await keys.find('a')).toBeDefined();
  });

  it('fails closed while the file is broken, and works again when it is whole', async () => {
    const jwk = publicPartOf(await newSigningJwk('a'));
    const path = await folder.write('broken.json', [jwk], 0o644);
    const keys = await loadVerificationKeys(path, { checkEverySeconds: 0 });
    await writeFile(path, 'broken');
    await expect(keys.find('a')).rejects.toMatchObject({ code: 'dependency_unavailable' });
    await expect(keys.find('a')).rejects.toMatchObject({ code: 'dependency_unavailable' });
    await folder.write('broken.json', [jwk], 0o644);
    expect(await keys.find('a')).toBeDefined();
  });
});
