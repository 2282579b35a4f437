/** Identity tokens for a demo agent, an administrator and an auditor, in files where the `mayfly` command finds them. */
import { join } from 'node:path';
import { replaceSecretFile } from '../keys/key-files.ts';
import { issueIdentityToken, type IdentityIssuer } from './development-issuer.ts';

/** Seconds that a development identity lives. */
export const DEVELOPMENT_IDENTITY_SECONDS = 600;

/** The claims of the three identities, by file name. */
export const DEVELOPMENT_IDENTITIES = {
  agent: {
    sub: 'agent:demo/report/agent-1',
    kind: 'agent',
    orchestration: 'demo',
    task: 'report',
    instance: 'agent-1',
    role: 'analyst',
    on_behalf_of: 'ada@example.com',
  },
  administrator: {
    sub: 'person:admin@example.com',
    kind: 'person',
    email: 'admin@example.com',
    groups: ['administrators', 'platform-administrators'],
  },
  auditor: {
    sub: 'person:auditor@example.com',
    kind: 'person',
    email: 'auditor@example.com',
    groups: ['auditors'],
  },
} as const;

/** Who has a development identity. */
export type DevelopmentIdentity = keyof typeof DEVELOPMENT_IDENTITIES;

/** How often the refresher looks at the clock, in milliseconds; a laptop that slept gets fresh tokens soon after. */
const LOOK_INTERVAL_MS = 15_000;

/** Writes `identities/{agent,administrator,auditor}.jwt` (0600) below `folder` and returns their paths. */
export async function writeDevelopmentIdentities(
  folder: string,
  issuer: IdentityIssuer,
): Promise<Record<DevelopmentIdentity, string>> {
  const entries = await Promise.all(
    Object.entries(DEVELOPMENT_IDENTITIES).map(async ([name, claims]) => {
      const path = join(folder, 'identities', `${name}.jwt`);
      const token = await issueIdentityToken(issuer, claims, {
        expiresInSeconds: DEVELOPMENT_IDENTITY_SECONDS,
      });
      replaceSecretFile(path, `${token}\n`);
      return [name, path] as const;
    }),
  );
  return Object.fromEntries(entries) as Record<DevelopmentIdentity, string>;
}

/** Writes the identities now, and again whenever half of their life is over, until `stop`. */
export async function keepDevelopmentIdentities(
  folder: string,
  issuer: IdentityIssuer,
  onError: (error: unknown) => void,
): Promise<{ readonly files: Record<DevelopmentIdentity, string>; stop(): void }> {
  const files = await writeDevelopmentIdentities(folder, issuer);
  let writtenAt = Date.now();
  const timer = setInterval(() => {
    if (Date.now() - writtenAt < (DEVELOPMENT_IDENTITY_SECONDS * 1000) / 2) return;
    writtenAt = Date.now();
    writeDevelopmentIdentities(folder, issuer).catch(onError);
  }, LOOK_INTERVAL_MS);
  timer.unref();
  return {
    files,
    stop: () => {
      clearInterval(timer);
    },
  };
}
