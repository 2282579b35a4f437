import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  mkdirSync,
  mkdtempSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { createLogger } from '@mayfly/telemetry';
import { asMayflyError, ProviderRejected } from '../providers/provider-error.ts';
import { openRealFile } from './open-real-file.ts';
import { SecretReader } from './secret-reader.ts';

describe('SecretReader', () => {
  let folder: string;
  let reader: SecretReader;
  const environment: NodeJS.ProcessEnv = {};

  beforeEach(() => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), 'mayfly-secrets-')));
    for (const name of ['acme', 'keys']) mkdirSync(join(folder, name));
    writeFileSync(join(folder, 'acme', 'db'), 'from a file\n');
    writeFileSync(join(folder, 'keys', 'handle'), 'own key');
    Object.assign(environment, { ACME_DB: 'from the environment', OTHER_DB: 'x', MAYFLY_NATS_URL: 'x' });
    reader = new SecretReader({ ownPaths: [join(folder, 'keys')], environment });
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const prefixes = () => [
    'env:ACME_',
    'env:MAYFLY_',
    `file:${folder}/acme/`,
    `file:${folder}/keys/`,
    'file:/proc/',
  ];

  it('reads variables and files within the prefixes, each time anew', async () => {
    expect((await reader.read('env:ACME_DB', prefixes())).reveal()).toBe('from the environment');
    expect((await reader.read(`file:${folder}/acme/db`, prefixes())).reveal()).toBe('from a file');
    writeFileSync(join(folder, 'acme', 'db'), 'rotated');
    expect((await reader.read(`file:${folder}/acme/db`, prefixes())).reveal()).toBe('rotated');
  });

  it('follows the links by which Kubernetes mounts secrets, also where a prefix ends within a name', async () => {
    const mount = join(folder, 'acme');
    const update = (version: string, value: string) => {
      mkdirSync(join(mount, version));
      writeFileSync(join(mount, version, 'orders-db'), value);
      rmSync(join(mount, '..data'), { force: true });
      symlinkSync(version, join(mount, '..data'));
    };
    update('..2026_11_30_23_54_57.1870234011', 'first');
    symlinkSync(join('..data', 'orders-db'), join(mount, 'orders-db'));
    const reference = `file:${mount}/orders-db`;
    for (const prefix of [`file:${mount}/`, `file:${mount}`, `file:${mount}/orders-`, reference]) {
      expect((await reader.read(reference, [prefix])).reveal()).toBe('first');
    }
    update('..2026_12_01_00_00_00.42', 'rotated');
    expect((await reader.read(reference, [`file:${mount}/orders-`])).reveal()).toBe('rotated');
  });

  it('takes a prefix that is itself a link to a folder', async () => {
    symlinkSync(join(folder, 'acme'), join(folder, 'linked'));
    const prefix = `file:${folder}/linked/`;
    expect((await reader.read(`${prefix}db`, [prefix])).reveal()).toBe('from a file');
    // Whoever runs Mayfly names the one file, so a link of that name is his own.
    symlinkSync(join(folder, 'acme', 'db'), join(folder, 'named'));
    expect((await reader.read(`file:${folder}/named`, [`file:${folder}/named`])).reveal()).toBe(
      'from a file',
    );
  });

  it('I5: follows no link out of the real folder of the prefix', async () => {
    for (const name of ['globex', 'acme-other', 'acme/sub']) mkdirSync(join(folder, name));
    for (const name of ['globex', 'acme-other']) writeFileSync(join(folder, name, 'db'), 'of another');
    symlinkSync(join(folder, 'globex', 'db'), join(folder, 'acme', 'out'));
    symlinkSync('../globex', join(folder, 'acme', 'folder'));
    symlinkSync('../../acme-other/db', join(folder, 'acme', 'sub', 'beside'));
    symlinkSync('../globex', join(folder, 'acme', '..2026_11_30_23_54_57.1'));
    symlinkSync(join('..2026_11_30_23_54_57.1', 'db'), join(folder, 'acme', 'mounted'));
    const outside = ['out', 'folder/db', 'sub/beside', 'mounted', '..2026_11_30_23_54_57.1/db'];
    for (const prefix of [`file:${folder}/acme/`, `file:${folder}/acme`]) {
      for (const name of outside) {
        await expect(reader.read(`file:${folder}/acme/${name}`, [prefix])).rejects.toThrow(ProviderRejected);
      }
    }
    for (const prefix of [`file:${folder}/acme/o`, `file:${folder}/acme/ou`]) {
      await expect(reader.read(`file:${folder}/acme/out`, [prefix])).rejects.toThrow(ProviderRejected);
    }
  });

  it('I5: reads nothing that took the place of what it had looked at', async () => {
    mkdirSync(join(folder, 'globex'));
    writeFileSync(join(folder, 'globex', 'db'), 'of another');
    const [asked, inPlace] = [join(folder, 'acme', 'sub', 'db'), join(folder, 'acme', 'sub')];
    mkdirSync(inPlace);
    writeFileSync(asked, 'its own');
    const looks: string[] = [];
    const file = await openRealFile(asked, (realPath) => {
      looks.push(realPath);
      const isFirst = looks.length === 1;
      if (isFirst) {
        renameSync(inPlace, `${inPlace}-away`);
        symlinkSync(join(folder, 'globex'), inPlace);
      }
      return Promise.resolve(realPath.startsWith(join(folder, 'acme')));
    });
    // Looked at, opened and looked at again; then asked for once more, which leads out from the start.
    const outside = join(folder, 'globex', 'db');
    expect(looks).toEqual([asked, outside, outside]);
    expect(file).toBeUndefined();
  });

  it.each([
    ['env:ACME_MISSING', 'env:ACME_MISSING is not set in the environment of minting'],
    ['env:ACME_EMPTY', 'env:ACME_EMPTY is empty'],
    ['file:/acme/missing', 'file:/acme/missing cannot be read'],
    // Whatever this is, it is no reference of the organization's: it may be a secret in the wrong place.
    ['env:OTHER_hunter2', 'a reference is outside the prefixes of the organization'],
    ['postgres://u:hunter2@h/', 'a reference is outside the prefixes of the organization'],
  ])(
    'names a reference that leads to nothing in the log, and to nobody else: %s',
    async (reference, told) => {
      environment['ACME_EMPTY'] = '';
      const here = (text: string) => text.replace('file:', `file:${folder}`);
      const error: unknown = await reader
        .read(here(reference), prefixes())
        .catch((thrown: unknown) => thrown);
      expect((error as ProviderRejected).reason).toBe('a secret of the integration cannot be resolved');
      const lines: string[] = [];
      const logger = createLogger({ service: 'minting', destination: { write: (line) => lines.push(line) } });
      logger.error(
        { err: asMayflyError(error as ProviderRejected) },
        'minting.issue answered provider_rejected',
      );
      const line = JSON.parse(lines[0] ?? '') as { err: { cause: { message: string } } };
      expect(line.err.cause.message).toBe(here(told));
      expect(lines.join('')).not.toContain('hunter2');
    },
  );

  it('I5: refuses what is outside the prefixes, missing, or Mayfly’s own, always with the same sentence', async () => {
    symlinkSync(join(folder, 'keys', 'handle'), join(folder, 'acme', 'own'));
    symlinkSync('/proc/self/environ', join(folder, 'acme', 'environ'));
    writeFileSync(join(folder, 'acme', 'large'), 'x'.repeat(65_537));
    writeFileSync(join(folder, 'acme', 'empty'), '\n');
    const references = [
      'env:OTHER_DB',
      'env:ACME_MISSING',
      'env:MAYFLY_NATS_URL',
      `file:${folder}/keys/handle`,
      `file:${folder}/acme/own`,
      `file:${folder}/acme/environ`,
      `file:${folder}/acme/missing`,
      `file:${folder}/acme/large`,
      `file:${folder}/acme/empty`,
      `file:${folder}/acme`,
      `file:${folder}/acme/`,
      `file:${folder}/acme/../acme/db`,
      `file:${folder}/acme//db`,
      'file:/proc/self/environ',
      'vault:ACME_DB',
      '',
    ];
    for (const reference of references) {
      const error = await reader.read(reference, prefixes()).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect([reference, error]).toEqual([reference, expect.any(ProviderRejected)]);
      expect((error as ProviderRejected).reason).toBe('a secret of the integration cannot be resolved');
    }
    await expect(reader.read('env:ACME_DB', [])).rejects.toThrow(ProviderRejected);
    await expect(reader.read('env:ACME_DB', [''])).rejects.toThrow(ProviderRejected);
  });

  it('answers with what does not print', async () => {
    expect(inspect(await reader.read('env:ACME_DB', prefixes()))).not.toContain('environment');
  });
});
