/** Finding a TCP port on 127.0.0.1 that nothing listens on. */
import { createServer } from 'node:net';

const handedOut = new Set<number>();

/**
 * A free port on 127.0.0.1: `preferred` when nothing listens there, else one of the system's choice. A port is
 * handed out once per process, so that two parts started at the same time don't get the same one.
 */
export async function freePort(preferred?: number): Promise<number> {
  if (preferred !== undefined && !handedOut.has(preferred) && (await isFree(preferred))) {
    handedOut.add(preferred);
    return preferred;
  }
  for (;;) {
    const port = await listenOnce(0);
    if (handedOut.has(port)) continue;
    handedOut.add(port);
    return port;
  }
}

/** Gives a port back, so that this process may hand it out again. */
export function releasePort(port: number): void {
  handedOut.delete(port);
}

async function isFree(port: number): Promise<boolean> {
  try {
    await listenOnce(port);
    return true;
  } catch {
    return false;
  }
}

function listenOnce(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      const address = server.address();
      const bound = typeof address === 'object' && address !== null ? address.port : port;
      server.close(() => {
        resolve(bound);
      });
    });
  });
}
