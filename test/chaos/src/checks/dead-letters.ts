/** How many messages somebody has given up on. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DevelopmentStack } from '@mayfly/stack';
import { connect, nkeyAuthenticator } from '@nats-io/transport-node';

export async function countDeadLetters({ natsUrl, keysFolder }: DevelopmentStack): Promise<number> {
  const seed = new TextEncoder().encode(readFileSync(join(keysFolder, 'setup', 'nats.nk'), 'utf8').trim());
  const connection = await connect({
    servers: natsUrl,
    inboxPrefix: '_INBOX_setup',
    authenticator: nkeyAuthenticator(seed),
  });
  try {
    const reply = await connection.request('$JS.API.STREAM.INFO.MAYFLY_DEAD', '', { timeout: 5_000 });
    return (JSON.parse(reply.string()) as { state: { messages: number } }).state.messages;
  } finally {
    await connection.close();
  }
}
