/** A certificate authority of our own and a server certificate, for a NATS that other machines reach (compose). */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findProgram } from '../programs/find-program.ts';
import { ensurePrivateFolder } from './key-files.ts';

/** The files of `generateTls`, as full paths. */
export interface TlsFiles {
  readonly caFile: string;
  readonly certFile: string;
  /** Secret, 0600. */
  readonly keyFile: string;
}

/** How long the certificates are good for, in days. */
const DAYS = 825;

/**
 * Makes `ca.crt`, `server.crt` and `server.key` in `folder` with the openssl program; existing ones stay. The
 * authority's own key is thrown away: it signs this one certificate and nothing after.
 * @throws Error or ProgramMissing
 */
export function generateTls(folder: string, names: readonly string[]): TlsFiles {
  const files = {
    caFile: join(folder, 'ca.crt'),
    certFile: join(folder, 'server.crt'),
    keyFile: join(folder, 'server.key'),
  };
  ensurePrivateFolder(folder);
  if (Object.values(files).every((file) => existsSync(file) && statSync(file).size > 0)) return files;
  const openssl = findOpenssl();
  const staging = mkdtempSync(join(folder, '.making-'));
  const run = (...args: string[]): void => {
    const { status, stderr } = spawnSync(openssl, args, { cwd: staging, encoding: 'utf8' });
    if (status !== 0)
      throw new Error(`openssl ${args[0] ?? ''} failed: ${stderr.trim().split('\n').at(-1) ?? ''}`);
  };
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  try {
    const subjectAltName = names.map((name) => `${/^[\d.]+$/u.test(name) ? 'IP' : 'DNS'}:${name}`).join(',');
    writeFileSync(
      join(staging, 'extensions'),
      `basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\nsubjectAltName=${subjectAltName}\n`,
    );
    run(
      'req',
      '-x509',
      ...newKey,
      '-keyout',
      'ca.key',
      '-out',
      'ca.crt',
      '-days',
      String(DAYS),
      '-subj',
      '/CN=Mayfly development CA',
    );
    run(
      'req',
      '-new',
      ...newKey,
      '-keyout',
      'server.key',
      '-out',
      'server.csr',
      '-subj',
      `/CN=${names[0] ?? 'mayfly'}`,
    );
    run(
      'x509',
      '-req',
      '-in',
      'server.csr',
      '-CA',
      'ca.crt',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-days',
      String(DAYS),
      '-extfile',
      'extensions',
      '-out',
      'server.crt',
    );
    for (const name of ['server.key', 'server.crt', 'ca.crt'])
      renameSync(join(staging, name), join(folder, name));
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
  return files;
}

function findOpenssl(): string {
  return findProgram({
    name: 'openssl',
    envVariable: 'MAYFLY_OPENSSL',
    debianPackage: 'openssl',
    hints: {
      darwin: 'Get it with: brew install openssl.',
      linux: 'Get it from your package manager.',
      win32: 'Get it with: winget install ShiningLight.OpenSSL.Light.',
    },
  });
}
