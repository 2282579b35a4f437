/**
 * Finds the platform identity that opens a session, in this order: `--identity-token-file`, `--as`,
 * `MAYFLY_IDENTITY_TOKEN`, `MAYFLY_IDENTITY_TOKEN_FILE`, the development stack's data folder.
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Secret } from '@mayfly/domain';
import { failureOf, usageFailure } from '../failure.ts';
import type { Io } from '../io.ts';
import { findDevelopmentFolder, readIdentityFile } from './development-folder.ts';
import type { DevelopmentIdentity } from './usual-identity.ts';

/** The contract's bound for a subject token, in characters. */
const maxTokenLength = 16_384;
/** With a line end or two. */
const maxTokenFileBytes = maxTokenLength + 16;
const restart = 'The development identity has expired; is `npm start` running?';

export interface IdentityOptions {
  readonly identityTokenFile?: string | undefined;
  readonly as?: DevelopmentIdentity | undefined;
}

export interface FoundIdentity {
  readonly token: Secret;
  /** It lay in the development stack's folder, so it is worth nothing anywhere else. */
  readonly isOfStack: boolean;
}

/** @throws CommandFailure (`unauthenticated`) when there is none, or it can't be one. */
export async function findIdentity(
  io: Pick<Io, 'env' | 'cwd' | 'now'>,
  options: IdentityOptions,
  usual: DevelopmentIdentity,
): Promise<FoundIdentity> {
  const { identityTokenFile, as } = options;
  if (identityTokenFile !== undefined && as !== undefined) {
    throw usageFailure('Give --identity-token-file or --as, not both.');
  }
  if (identityTokenFile !== undefined) return given(await fromFile(io, identityTokenFile));
  if (as !== undefined) return ofStack(fromDevelopmentFolder(io, as));
  const token = io.env['MAYFLY_IDENTITY_TOKEN'];
  if (token !== undefined && token !== '') return given(checked(token, 'MAYFLY_IDENTITY_TOKEN'));
  const file = io.env['MAYFLY_IDENTITY_TOKEN_FILE'];
  if (file !== undefined && file !== '') return given(await fromFile(io, file));
  return ofStack(fromDevelopmentFolder(io, usual));
}

const given = (token: Secret): FoundIdentity => ({ token, isOfStack: false });
const ofStack = (token: Secret): FoundIdentity => ({ token, isOfStack: true });

async function fromFile({ cwd }: Pick<Io, 'cwd'>, path: string): Promise<Secret> {
  const content = await read(resolve(cwd, path));
  if (content === undefined)
    throw failureOf('unauthenticated', `The identity token file ${path} can't be read.`);
  return checked(content, path);
}

function fromDevelopmentFolder(io: Pick<Io, 'env' | 'cwd' | 'now'>, identity: DevelopmentIdentity): Secret {
  const folder = findDevelopmentFolder(io);
  const content = folder === undefined ? undefined : readIdentityFile(folder, identity, maxTokenFileBytes);
  if (content === undefined) {
    throw failureOf('unauthenticated', 'There is no identity token to open a session with.', {
      next: 'Set MAYFLY_IDENTITY_TOKEN or MAYFLY_IDENTITY_TOKEN_FILE, or run `npm start` for a development stack and its identities.',
    });
  }
  const token = checked(content, `the file of the identity ${identity}`);
  const expiry = expiryOf(token);
  if (expiry !== undefined && expiry <= io.now().getTime())
    throw failureOf('unauthenticated', restart, {
      next: 'It writes fresh ones every few minutes while it runs.',
    });
  return token;
}

async function read(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** Looks like a compact JWS; the token itself is never repeated in an error. */
function checked(content: string, source: string): Secret {
  const token = content.trim();
  if (token.length > maxTokenLength || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) {
    throw failureOf('unauthenticated', `What ${source} holds is not a JWT.`);
  }
  return new Secret(token);
}

/** `exp` in epoch milliseconds, unverified: only for telling what is wrong sooner and better. */
function expiryOf(token: Secret): number | undefined {
  try {
    const payload = Buffer.from(token.reveal().split('.')[1] ?? '', 'base64url').toString('utf8');
    const { exp } = JSON.parse(payload) as { exp?: unknown };
    return typeof exp === 'number' ? exp * 1000 : undefined;
  } catch {
    return undefined;
  }
}
