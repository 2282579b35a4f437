import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { decodeProtectedHeader } from 'jose';
import { HandleBox } from './handle.ts';
import { newKeyFolder, newSecretJwk, type KeyFolder } from './key-fixtures.ts';

const refused = { code: 'invalid_request', reason: 'The sealed value cannot be opened.' };
const binding = { leaseId: 'lease-1', organization: 'acme', integration: 'orders-db' };
const [first, second] = [newSecretJwk('1'), newSecretJwk('2')];

let folder: KeyFolder;
let box: HandleBox;
beforeAll(async () => {
  folder = await newKeyFolder();
  box = await HandleBox.load(await folder.write('handle.json', [first]));
});
afterAll(() => folder.remove());

describe('HandleBox', () => {
  it('opens a handle for the lease, organization and integration that it was sealed for', async () => {
    const jwe = await box.seal({ role: 'mayfly_1' }, binding);
    expect(await box.open(jwe, { ...binding })).toEqual({ role: 'mayfly_1' });
    expect(decodeProtectedHeader(jwe)).toMatchObject({ alg: 'dir', enc: 'A256GCM', kid: '1' });
    expect(jwe).not.toContain(Buffer.from('mayfly_1').toString('base64url'));
  });

  it.each([
    { leaseId: 'lease-2' },
    { organization: 'other' },
    { integration: 'other-db' },
    { leaseId: 'lease-1","acme', organization: 'orders-db', integration: '' },
  ])('does not open it for %j', async (other) => {
    const jwe = await box.seal({ role: 'mayfly_1' }, binding);
    await expect(box.open(jwe, { ...binding, ...other })).rejects.toMatchObject(refused);
  });

  it('does not open a handle whose header was swapped for that of another lease', async () => {
    const mine = (await box.seal({ role: 'mine' }, binding)).split('.');
    const theirs = (await box.seal({ role: 'theirs' }, { ...binding, leaseId: 'lease-2' })).split('.');
    const swapped = [mine[0], ...theirs.slice(1)].join('.');
    await expect(box.open(swapped, binding)).rejects.toMatchObject(refused);
  });

  it('does not open what is altered, sealed with another key, or no JWE', async () => {
    const jwe = await box.seal({ role: 'mayfly_1' }, binding);
    const parts = jwe.split('.');
    const altered = parts
      .with(3, (parts[3]?.startsWith('A') ? 'B' : 'A') + (parts[3] ?? '').slice(1))
      .join('.');
    await expect(box.open(altered, binding)).rejects.toMatchObject(refused);
    await expect(box.open('not a jwe', binding)).rejects.toMatchObject(refused);
    const stranger = await HandleBox.load(await folder.write('stranger.json', [newSecretJwk('1')]));
    await expect(stranger.open(jwe, binding)).rejects.toMatchObject(refused);
    const unknownKid = await HandleBox.load(await folder.write('unknown.json', [{ ...first, kid: '9' }]));
    await expect(unknownKid.open(jwe, binding)).rejects.toMatchObject(refused);
  });

  it('seals with the first key and opens with all', async () => {
    const old = await box.seal({ age: 'old' }, binding);
    const rotated = await HandleBox.load(await folder.write('rotated.json', [second, first]));
    expect(await rotated.open(old, binding)).toEqual({ age: 'old' });
    const fresh = await rotated.seal({ age: 'new' }, binding);
    expect(decodeProtectedHeader(fresh)).toMatchObject({ kid: '2' });
    await expect(box.open(fresh, binding)).rejects.toMatchObject(refused);
  });

  it('refuses a key file that others can read, or a key of another size', async () => {
    await expect(HandleBox.load(await folder.write('open.json', [first], 0o640))).rejects.toThrow(
      /chmod 600/,
    );
    const short = { kty: 'oct', k: 'c2hvcnQ', kid: '1' };
    await expect(HandleBox.load(await folder.write('short.json', [short]))).rejects.toThrow(
      /256-bit secret key/,
    );
  });
});
