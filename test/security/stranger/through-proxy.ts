/** A request that comes through a proxy, which has written the caller's address in its own way. */
import { request } from 'node:http';
import { text } from 'node:stream/consumers';

export interface ProxiedRequest {
  readonly gatewayUrl: string;
  /** Where the proxy is. */
  readonly proxy: string;
  readonly forwardedFor: string;
  readonly sessionToken: string;
  readonly credential: string;
}

/** Asks for a credential; the status, and the body as it came. */
export function mintThroughProxy(options: ProxiedRequest): Promise<{ status: number; body: string }> {
  const { gatewayUrl, proxy, forwardedFor, sessionToken, credential } = options;
  return new Promise((resolve, reject) => {
    const sent = request(`${gatewayUrl}/v1/leases`, {
      method: 'POST',
      localAddress: proxy,
      agent: false,
      headers: {
        authorization: `Bearer ${sessionToken}`,
        'content-type': 'application/json',
        'x-forwarded-for': forwardedFor,
      },
    });
    sent.on('error', reject);
    sent.on('response', (response) => {
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
    });
    sent.end(JSON.stringify({ credential }));
  });
}
