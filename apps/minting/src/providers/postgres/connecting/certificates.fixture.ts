/**
 * X.509 certificates for specs (RFC 5280 §4.1, DER of ITU-T X.690), so that no private key lies in the repository and no other
 * program is needed. Keys are P-256.
 */
import { generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';

export interface TestCertificate {
  readonly name: string;
  /** PEM. */
  readonly cert: string;
  readonly key: string;
  readonly privateKey: KeyObject;
}

interface CertificateOptions {
  /** `commonName`. */
  readonly name: string;
  /** Who signs it; absent: itself. */
  readonly by?: TestCertificate;
  readonly isAuthority?: boolean;
  /** DNS names that it is for. */
  readonly hosts?: readonly string[];
  /** Days from now. Default: from yesterday to tomorrow. */
  readonly from?: number;
  readonly until?: number;
}

export function makeCertificate({ name, by, ...options }: CertificateOptions): TestCertificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const extensions = [
    sequence(oid(0x55, 0x1d, 0x13), boolean(true), octets(sequence(boolean(options.isAuthority ?? false)))),
    ...(options.hosts === undefined
      ? []
      : [sequence(oid(0x55, 0x1d, 0x11), octets(sequence(...options.hosts.map(dnsName))))]),
  ];
  const body = sequence(
    tagged(0xa0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ecdsaWithSha256,
    distinguishedName(by?.name ?? name),
    sequence(time(options.from ?? -1), time(options.until ?? 1)),
    distinguishedName(name),
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, sequence(...extensions)),
  );
  const signature = sign('sha256', body, by?.privateKey ?? privateKey);
  const der = sequence(body, ecdsaWithSha256, tagged(0x03, Buffer.from([0]), signature));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return {
    name,
    cert: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    privateKey,
  };
}

function tagged(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const bytes = [];
  for (let rest = content.length; rest > 0; rest >>= 8) bytes.unshift(rest & 0xff);
  const length = content.length < 0x80 ? [content.length] : [0x80 | bytes.length, ...bytes];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tagged(0x30, ...parts);
}

function oid(...bytes: readonly number[]): Buffer {
  return tagged(0x06, Buffer.from(bytes));
}

function integer(bytes: Buffer): Buffer {
  return tagged(0x02, bytes);
}

function boolean(value: boolean): Buffer {
  return tagged(0x01, Buffer.from([value ? 0xff : 0]));
}

function octets(content: Buffer): Buffer {
  return tagged(0x04, content);
}

function dnsName(host: string): Buffer {
  return tagged(0x82, Buffer.from(host));
}

function distinguishedName(commonName: string): Buffer {
  const attribute = sequence(oid(0x55, 0x04, 0x03), tagged(0x0c, Buffer.from(commonName)));
  return sequence(tagged(0x31, attribute));
}

/** GeneralizedTime, which is right for any year. */
function time(inDays: number): Buffer {
  const at = new Date(Date.now() + inDays * 86_400_000).toISOString();
  return tagged(0x18, Buffer.from(`${at.replace(/[-:T]|\..*/g, '')}Z`));
}

/** 1.2.840.10045.4.3.2 */
const ecdsaWithSha256 = sequence(oid(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02));
