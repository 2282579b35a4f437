/** Where the gateway is: `--url`, `MAYFLY_URL`, the running development stack, or the default port on this machine. */
import { usageFailure } from '../failure.ts';
import { findDevelopmentFolder, readStackFile } from '../identity/development-folder.ts';
import type { Io } from '../io.ts';

export const defaultGatewayUrl = 'http://127.0.0.1:8470';

export interface GatewayUrl {
  /** Without a trailing slash. */
  readonly url: string;
  /** Identity and session tokens would cross a network in the clear. */
  readonly isExposed: boolean;
}

/** @throws CommandFailure when what was given is no URL of a gateway. */
export async function findGatewayUrl(
  io: Pick<Io, 'env' | 'cwd'>,
  option: string | undefined,
): Promise<GatewayUrl> {
  const named = option ?? io.env['MAYFLY_URL'];
  if (named !== undefined && named !== '') return parse(named);
  const folder = await findDevelopmentFolder(io);
  const stack = folder === undefined ? undefined : await readStackFile(folder);
  if (stack === undefined) return parse(defaultGatewayUrl);
  const found = parse(stack.gateway_url);
  // A folder that came with somebody's repository must not have an identity sent to a host of its choice.
  if (!isLoopback(new URL(found.url).hostname)) return parse(defaultGatewayUrl);
  return found;
}

function parse(text: string): GatewayUrl {
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
  };
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
}
