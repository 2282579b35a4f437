/** `npm start`: the whole of Mayfly in the foreground, until Ctrl-C. */
import { resolve } from 'node:path';
import { redactConnectionString } from '@mayfly/postgres';
import { startDevelopmentStack } from '@mayfly/stack';
import { assertNodeOfTheLockFile } from './node-version.ts';
import { fact, failed, title } from './terminal.ts';

assertNodeOfTheLockFile();

const started = performance.now();
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => stopping.abort(new Error(`stopped by ${signal}`)));
}

try {
  await run();
} catch (error) {
  if (stopping.signal.aborted) console.log('Stopped.');
  else {
    failed(error instanceof Error ? error.message : String(error));
    process.exitCode = 1;
  }
}

async function run(): Promise<void> {
  console.log('Starting Postgres, NATS and the five services …');
  const stack = await startDevelopmentStack({
    dataDirectory: resolve(process.env['MAYFLY_DATA_DIR'] ?? '.mayfly'),
    postgresUrl: process.env['MAYFLY_POSTGRES_URL'],
    natsUrl: process.env['MAYFLY_NATS_URL'],
    natsCaFile: process.env['MAYFLY_NATS_CA'],
    mintingSecrets: referredSecrets(process.env),
    signal: stopping.signal,
    log: (line) => console.log(line),
  });
  try {
    title(`Mayfly is ready (${((performance.now() - started) / 1000).toFixed(1)} s)`);
    fact('gateway', stack.gatewayUrl);
    fact('API', `${stack.gatewayUrl}/openapi.json`);
    fact('Postgres', `${redactConnectionString(stack.postgres.auditorUrl)}  (auditor; whole in stack.json)`);
    fact('NATS', stack.natsUrl);
    fact('data', stack.dataDirectory);
    fact('identities', `${stack.dataDirectory}/identities/{agent,administrator,auditor}.jwt`);
    fact('logs', `${stack.dataDirectory}/logs/`);
    title('Metrics');
    for (const [service, { url }] of Object.entries(stack.services)) fact(service, `${url}/metrics`);
    title('Try it, in another terminal');
    console.log('  npx mayfly credentials');
    console.log('  npx mayfly exec orders-db/readonly -- psql -c "select count(*) from orders"');
    console.log('  npx mayfly audit --since 5m\n');
    console.log('Ctrl-C stops everything.');
    await aborted(stopping.signal);
    console.log('\nStopping …');
  } finally {
    await stack.stop();
  }
  console.log('Stopped.');
}

/** What `env:ORDERS_…` references of the development configuration may mean; minting alone gets it. */
function referredSecrets(environment: NodeJS.ProcessEnv): Record<string, string> {
  const entries = Object.entries(environment).filter(([name]) => name.startsWith('ORDERS_'));
  return Object.fromEntries(entries.map(([name, value]) => [name, value ?? '']));
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((done) => {
    // A signal handler alone keeps no process alive.
    const alive = setInterval(() => undefined, 60_000);
    signal.addEventListener(
      'abort',
      () => {
        clearInterval(alive);
        done();
      },
      { once: true },
    );
  });
}
