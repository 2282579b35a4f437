import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram, ProgramMissing, type ProgramQuery, type ProgramSearch } from './find-program.ts';

const query: ProgramQuery = {
  name: 'the-server',
  envVariable: 'MAYFLY_THE_SERVER',
  debianPackage: 'the-server-package',
  hints: { darwin: 'brew it.', linux: 'apt it.', win32: 'winget it.' },
};

describe('findProgram', () => {
  let folder: string;
  let program: string;
  let search: ProgramSearch;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'mayfly-programs-'));
    mkdirSync(join(folder, 'bin'));
    program = join(folder, 'bin', 'the-server');
    writeFileSync(program, '#!/bin/sh\n');
    chmodSync(program, 0o755);
    search = { env: {}, moreFolders: [], mayInstall: () => false, platform: 'linux' };
  });
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  it('takes what the environment names before what is on the PATH', () => {
    const env = { MAYFLY_THE_SERVER: program, PATH: '/nowhere' };
    expect(findProgram(query, { ...search, env })).toBe(program);
  });

  it('refuses a named file that is no program instead of taking another', () => {
    const env = { MAYFLY_THE_SERVER: folder, PATH: join(folder, 'bin') };
    expect(() => findProgram(query, { ...search, env })).toThrow(`MAYFLY_THE_SERVER names ${folder}`);
  });

  it('looks on the PATH and then in the usual folders', () => {
    expect(findProgram(query, { ...search, env: { PATH: `/nowhere:${join(folder, 'bin')}` } })).toBe(program);
    expect(findProgram(query, { ...search, moreFolders: [join(folder, 'bin')] })).toBe(program);
  });

  it.each([
    ['darwin', 'brew it.'],
    ['linux', 'apt it.'],
    ['freebsd', 'apt it.'],
    ['win32', 'winget it.'],
  ] as const)('tells on %s how to get it', (platform, hint) => {
    expect(() => findProgram(query, { ...search, platform })).toThrow(
      new ProgramMissing(
        `the-server is needed and was not found. ${hint} Or name its file in MAYFLY_THE_SERVER.`,
      ),
    );
  });

  it('installs the package where it may, and says so in one line', () => {
    const later = join(folder, 'later');
    const lines: string[] = [];
    const found = findProgram(query, {
      ...search,
      moreFolders: [later],
      mayInstall: () => true,
      install: (name) => {
        mkdirSync(later);
        writeFileSync(join(later, 'the-server'), name, { mode: 0o755 });
      },
      log: (line) => lines.push(line),
    });
    expect(found).toBe(join(later, 'the-server'));
    expect(lines).toEqual([
      'the-server is not installed: installing the system package the-server-package with apt-get.',
    ]);
  });

  it('tells how to get it when installing fails', () => {
    const install = (): never => {
      throw new Error('no network');
    };
    expect(() =>
      findProgram(query, { ...search, mayInstall: () => true, install, log: () => undefined }),
    ).toThrow(/apt it\..*\(no network\)/u);
  });
});
