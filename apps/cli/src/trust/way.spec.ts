import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { privateGroupOf, thisUser } from './user.ts';
import { stepAt, wayTo, whyNotOwn, whyOpenToOthers, type Step } from './way.ts';

const me = { uid: 1000, privateGroup: 1000 };
const folder = (path: string, rights: Partial<Step> = {}): Step => ({
  ...{ path, kind: 'folder', uid: 1000, gid: 1000, mode: 0o40755 },
  ...rights,
});
const root = folder('/', { uid: 0, gid: 0 });

describe('a way', () => {
  it.each<[string, Step, string | undefined]>([
    ['of this user and root', folder('/a'), undefined],
    ["of somebody else's", folder('/a', { uid: 1001 }), '/a belongs to another user'],
    ['of a link of somebody else', folder('/a', { uid: 1001, kind: 'link' }), '/a belongs to another user'],
    ['that all can write', folder('/a', { mode: 0o40757 }), '/a can be written by everybody'],
    ['through /tmp', folder('/tmp', { uid: 0, mode: 0o41777 }), undefined],
    [
      "through somebody else's sticky folder",
      folder('/a', { uid: 1001, mode: 0o41777 }),
      '/a belongs to another user',
    ],
    ['that a group can write', folder('/a', { gid: 50, mode: 0o40775 }), '/a can be written by its group'],
    ["that the user's own group can write", folder('/a', { mode: 0o40775 }), undefined],
  ])('%s', (_, step, why) => {
    expect(whyOpenToOthers([root, step, folder('/a/b')], me)).toBe(why);
  });
});

describe('what is to be its own', () => {
  it.each<[Partial<Step>, string]>([
    [{ uid: 0 }, '/a belongs to another user'],
    [{ mode: 0o40775 }, '/a can be written by others'],
    [{ kind: 'link' }, '/a is a symbolic link'],
    [{ kind: 'file' }, '/a is no folder'],
  ])('%j', (rights, why) => {
    expect(whyNotOwn(folder('/a', rights), 'folder', me)).toBe(why);
    expect(whyNotOwn(folder('/a'), 'folder', me)).toBeUndefined();
  });
});

describe('a private group', () => {
  const passwd = 'root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:\nbob:x:1001:100::/home/bob:\n';
  it.each([
    ['of her own', 'ada:x:1000:\n', 1000],
    ['with herself in it', 'ada:x:1000:ada\n', 1000],
    ['with others in it', 'ada:x:1000:bob\n', undefined],
    ['with another name', 'users:x:1000:\n', undefined],
    ['that is told twice', 'ada:x:1000:\nother:x:1000:bob\n', undefined],
    ['that is not told', '', undefined],
  ])('%s', (_, group, expected) => {
    expect(privateGroupOf(1000, passwd, group)).toBe(expected);
  });

  it('is none where it is the first of others', () => {
    expect(privateGroupOf(1000, passwd.replace('1001:100:', '1001:1000:'), 'ada:x:1000:\n')).toBeUndefined();
    expect(privateGroupOf(1002, passwd, 'ada:x:1000:\n')).toBeUndefined();
  });
});

describe('on this machine', () => {
  let base: string;
  beforeEach(() => {
    base = realpathSync(mkdtempSync(join(tmpdir(), 'mayfly-way-')));
    mkdirSync(join(base, 'a', 'b'), { recursive: true, mode: 0o755 });
  });
  afterEach(() => rmSync(base, { recursive: true, force: true }));

  it('a way goes through every folder and link', () => {
    symlinkSync('../a', join(base, 'a', 'link'));
    const paths = wayTo(join(base, 'a', 'link', 'b')).map(({ path }) => path);
    expect(paths.slice(paths.indexOf(base))).toEqual(
      ['', '/a', '/a/link', '/a', '/a/b'].map((path) => base + path),
    );
    expect(whyOpenToOthers(wayTo(join(base, 'a', 'link', 'b')))).toBeUndefined();
  });

  it('a way that goes in circles ends', () => {
    symlinkSync('circle', join(base, 'circle'));
    expect(() => wayTo(join(base, 'circle'))).toThrow('too many links');
  });

  it('a parent that all can write is found', () => {
    chmodSync(join(base, 'a'), 0o777);
    expect(whyOpenToOthers(wayTo(join(base, 'a', 'b')))).toBe(
      `${join(base, 'a')} can be written by everybody`,
    );
    expect(whyNotOwn(stepAt(join(base, 'a', 'b')), 'folder', thisUser())).toBeUndefined();
  });
});
