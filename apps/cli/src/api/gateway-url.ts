/** Where the gateway is: `--url`, `MAYFLY_URL`, the running development stack, or the default port on this machine. */
import { usageFailure } from '../failure.ts';
import { findDevelopmentFolder, readStackFile } from '../identity/development-folder.ts';
import type { FoundIdentity } from '../identity/find-identity.ts';
import type { Io } from '../io.ts';

export const defaultGatewayUrl = 'http://127.0.0.1:8470';

export interface GatewayUrl {
  /** Without a trailing slash. */
  readonly url: string;
  /** Identity and session tokens would cross a network in the clear. */
  readonly isExposed: boolean;
  /** By `--url`, `MAYFLY_URL` or `MAYFLY_DATA_DIR`; else nobody has said that an identity is meant for it. */
  readonly isNamed: boolean;
}

/** @throws CommandFailure when what was given is no URL of a gateway, or what was found is not to be trusted. */
export function findGatewayUrl(io: Pick<Io, 'env' | 'cwd'>, option: string | undefined): GatewayUrl {
  const named = option ?? io.env['MAYFLY_URL'];
  if (named !== undefined && named !== '') return parse(named, true);
  const folder = findDevelopmentFolder(io);
  const stack = folder === undefined ? undefined : readStackFile(folder);
  if (folder === undefined || stack === undefined) return parse(defaultGatewayUrl, false);
  const found = parse(stack.gateway_url, folder.isNamed);
  // A folder that came with somebody's repository must not have an identity sent to a host of its choice.
  if (!isLoopback(new URL(found.url).hostname)) return parse(defaultGatewayUrl, false);
  return found;
}

/**
 * An identity that was given is for a gateway that was named: a folder on the way upward, or whoever listens at the default port of
 * a machine with several users, must not get it. The identities of a development stack are worth nothing elsewhere.
 * @throws CommandFailure
 */
export function mustBeMeantFor(
  { isNamed, url }: GatewayUrl,
  { isOfStack }: Pick<FoundIdentity, 'isOfStack'>,
): void {
  if (isNamed || isOfStack) return;
  throw usageFailure(
    'An identity token is given, and no gateway is named to send it to.',
    `Name it with --url or MAYFLY_URL (${url}, if you mean the one on this machine), or use --as for an identity of the development stack.`,
  );
}

function parse(text: string, isNamed: boolean): GatewayUrl {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const usable =
    url !== undefined &&
    /^https?:$/.test(url.protocol) &&
    url.username === '' &&
    url.password === '' &&
    url.search === '' &&
    url.hash === '';
  if (!usable) throw usageFailure('The gateway URL is not usable.', `It looks like ${defaultGatewayUrl}.`);
  return {
    url: url.href.replace(/\/+$/, ''),
    isExposed: url.protocol === 'http:' && !isLoopback(url.hostname),
    isNamed,
  };
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
}
