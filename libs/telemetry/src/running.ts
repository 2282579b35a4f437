/**
 * The SDK of this process, known without importing it: a service that ends must be able to flush, whether or not it
 * was started with `--import …/register.js`.
 */
interface Running {
  shutdown(): Promise<void>;
}

let running: Running | undefined;

/** Called by `register.ts` only. */
export function setRunning(sdk: Running): void {
  running = sdk;
}

/**
 * Sends what is still buffered and stops exporting. Never rejects and never takes longer than `timeoutMs`: a collector
 * that is away must not keep a service from stopping. Does nothing where no SDK runs, and nothing the second time.
 */
export async function shutdownTelemetry(timeoutMs = 5_000): Promise<void> {
  const sdk = running;
  running = undefined;
  if (sdk === undefined) return;
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs);
  });
  await Promise.race([sdk.shutdown().catch(() => undefined), timeout]);
  clearTimeout(timer);
}
