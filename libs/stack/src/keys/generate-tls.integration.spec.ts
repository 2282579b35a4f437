import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateTls } from './generate-tls.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mayfly-tls-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

it('makes a server certificate for the given names, signed by an authority whose key is gone', () => {
  const files = generateTls(folder, ['nats', '127.0.0.1']);
  const certificate = new X509Certificate(readFileSync(files.certFile));
  const authority = new X509Certificate(readFileSync(files.caFile));
  expect(certificate.verify(authority.publicKey)).toBe(true);
  expect(authority.ca).toBe(true);
  expect(certificate.ca).toBe(false);
  expect(certificate.checkHost('nats')).toBe('nats');
  expect(certificate.checkIP('127.0.0.1')).toBe('127.0.0.1');
  expect(certificate.checkPrivateKey(createPrivateKey(readFileSync(files.keyFile)))).toBe(true);
  expect(statSync(files.keyFile).mode & 0o777).toBe(0o600);
  expect(readdirSync(folder).sort()).toEqual(['ca.crt', 'server.crt', 'server.key']);
  const before = readFileSync(files.certFile, 'utf8');
  generateTls(folder, ['nats']);
  expect(readFileSync(files.certFile, 'utf8')).toBe(before);
});
