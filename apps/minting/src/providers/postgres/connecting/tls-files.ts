/**
 * The files of certificates and keys that an admin URL names, read at each use, so that one that was renewed works at once.
 * Whoever writes the URL may be another than who runs Mayfly: a key is a secret like any other, within the organization's prefixes
 * (I5), or one organization could log in with the key of another. Certificates of CAs are nobody's secret.
 */
import { constants, open, realpath } from 'node:fs/promises';
import type { Secret } from '@mayfly/domain';
import type { SecretResolver } from '../../provider.ts';
import { ProviderRejected } from '../../provider-error.ts';
import type { AdminConnection } from './admin-url.ts';

/** Their contents, in PEM. */
export interface TlsFiles {
  readonly rootCert?: string;
  readonly cert?: Secret;
  readonly key?: Secret;
}

/** The bundle of all public CAs is a quarter of this, in bytes. */
const maxRootCertBytes = 1_048_576;

/** Throws ProviderRejected, naming the parameter and not the path. */
export async function readTlsFiles(
  { sslRootCert, sslCert, sslKey }: AdminConnection,
  secrets: SecretResolver,
): Promise<TlsFiles> {
  const [rootCert, cert, key] = await Promise.all([
    sslRootCert === undefined || sslRootCert === 'system' ? undefined : readRootCert(sslRootCert),
    sslCert === undefined ? undefined : readOwn('sslcert', sslCert, secrets),
    sslKey === undefined ? undefined : readOwn('sslkey', sslKey, secrets),
  ]);
  return {
    ...(rootCert !== undefined && { rootCert }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
  };
}

async function readOwn(parameter: string, path: string, secrets: SecretResolver): Promise<Secret> {
  try {
    return await secrets(`file:${path}`);
  } catch {
    throw new ProviderRejected(
      `the file that ${parameter} of the admin URL names can't be read; it must be there and within secret_references of the organization`,
    );
  }
}

/** Whatever is wrong with the file: what else is on minting's machine is not an organization's to find out. */
export function uselessRootCert(): ProviderRejected {
  return new ProviderRejected(
    "the file that sslrootcert of the admin URL names can't be read on minting's machine, or does not hold certificates in PEM",
  );
}

async function readRootCert(path: string): Promise<string> {
  try {
    const target = await realpath(path);
    if (/^\/(?:proc|sys|dev)\//.test(target)) throw new Error("the system's");
    // A pipe without a writer would hold a thread for ever, were it waited for.
    const file = await open(target, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stat = await file.stat();
      if (!stat.isFile() || stat.size > maxRootCertBytes) throw new Error('no file, or too large');
      return await file.readFile('utf8');
    } finally {
      await file.close();
    }
  } catch {
    throw uselessRootCert();
  }
}
