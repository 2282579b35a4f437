/** What `sslmode` and its companions mean for a connection (PostgreSQL documentation §34.19.4), in the words of Node's TLS. */
import { X509Certificate } from 'node:crypto';
import { createSecureContext, getCACertificates, type ConnectionOptions } from 'node:tls';
import { isSocketFolder, sslModeOf, type PostgresHost } from '@mayfly/domain';
import { ProviderRejected } from '../../provider-error.ts';
import type { AdminConnection } from './admin-url.ts';
import { uselessRootCert, type TlsFiles } from './tls-files.ts';

/** With TLS or without, in the order in which to try them; at least one. */
export function encryptionsFor(
  connection: AdminConnection,
  host: PostgresHost,
): readonly ('tls' | 'plain')[] {
  if (isSocketFolder(host)) return ['plain'];
  switch (sslModeOf(connection)) {
    case 'disable':
      return ['plain'];
    case 'allow':
      return ['plain', 'tls'];
    case 'prefer':
      return ['tls', 'plain'];
    case 'require':
    case 'verify-ca':
    case 'verify-full':
      return ['tls'];
  }
}

/**
 * Where a root CA is named, the certificate must come from it, in every mode, as with libpq. Made once for all connections, because
 * reading a bundle of CAs takes longer than connecting. Throws ProviderRejected when the files are of no use.
 */
export function tlsOptions(connection: AdminConnection, files: TlsFiles): ConnectionOptions {
  const isFull = sslModeOf(connection) === 'verify-full';
  const ca = authorities(connection, files, isFull);
  return {
    secureContext: contextOf(connection, files, ca),
    rejectUnauthorized: ca !== undefined,
    ...(!isFull && { checkServerIdentity: () => undefined }),
  };
}

/** Undefined: whatever certificate the server has will do. */
function authorities(
  { sslRootCert }: AdminConnection,
  { rootCert }: TlsFiles,
  isFull: boolean,
): string[] | undefined {
  if (sslRootCert === undefined || sslRootCert === 'system')
    return isFull ? [...getCACertificates('system'), ...getCACertificates('default')] : undefined;
  const certificates = rootCert?.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (certificates.length === 0 || !certificates.every(isCertificate)) throw uselessRootCert();
  return certificates;
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}

function contextOf(
  { sslCert, sslPassword, sslMinProtocolVersion: minVersion = 'TLSv1.2' }: AdminConnection,
  { cert, key }: TlsFiles,
  ca: string[] | undefined,
) {
  const common = { minVersion, ...(ca !== undefined && { ca }) };
  if (sslCert === undefined) return createSecureContext(common);
  try {
    if (cert === undefined || key === undefined) throw new TypeError('not read');
    return createSecureContext({
      ...common,
      cert: cert.reveal(),
      key: key.reveal(),
      ...(sslPassword !== undefined && { passphrase: sslPassword.reveal() }),
    });
  } catch {
    throw new ProviderRejected(
      'the files that sslcert and sslkey of the admin URL name hold no certificate and key in PEM that belong together, or ' +
        'sslpassword does not open the key',
    );
  }
}
