import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { ProviderRejected } from '../providers/provider-error.ts';
import { SecretReader } from './secret-reader.ts';

describe('SecretReader', () => {
  let folder: string;
  let reader: SecretReader;
  const environment: NodeJS.ProcessEnv = {};

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'mayfly-secrets-'));
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

  it('follows links to files that are not its own, as Kubernetes mounts secrets', async () => {
    writeFileSync(join(folder, 'data'), 'linked');
    symlinkSync(join(folder, 'data'), join(folder, 'acme', 'link'));
    expect((await reader.read(`file:${folder}/acme/link`, prefixes())).reveal()).toBe('linked');
  });

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
