/**
 * Sets up a deployment of Mayfly: one short-lived job per step, each with just the access that its step takes. Every step may
 * run again and changes nothing that is right. Settings come from the environment (`settings.ts`), secrets from files.
 */
import { adoptStreams } from '@mayfly/stack';
import { prepareKeys } from './prepare-keys.ts';
import { prepareServiceDatabase } from './prepare-service-database.ts';
import { prepareStreams } from './prepare-streams.ts';
import { AdoptStep, DatabaseStep, IdentityStep, KeysStep, settingsOf, StreamsStep } from './settings.ts';
import { trialIdentity } from './trial-identity.ts';

const usage =
  'Usage: main.js keys | database | streams | adopt-streams | identity agent|administrator|auditor';

try {
  await run(process.argv.slice(2));
} catch (error) {
  console.error(`The set-up failed: ${sentence(error)}`);
  process.exitCode = 1;
}

async function run([step, ...rest]: string[]): Promise<void> {
  const env = process.env;
  switch (step) {
    case 'keys':
      return prepareKeys(settingsOf(KeysStep, env), tell);
    case 'database':
      return prepareServiceDatabase(settingsOf(DatabaseStep, env), tell);
    case 'streams':
      return prepareStreams(settingsOf(StreamsStep, env), tell);
    case 'adopt-streams': {
      const { MAYFLY_NATS_STORE: store } = settingsOf(AdoptStep, env);
      tell(
        adoptStreams(store)
          ? 'The streams belong to the account MAYFLY_LOG now.'
          : 'There is nothing to take over.',
      );
      return;
    }
    case 'identity':
      // Alone on standard output, so that a shell can take it.
      console.log(await trialIdentity(settingsOf(IdentityStep, env).MAYFLY_TRIAL_ISSUER, rest[0]));
      return;
    default:
      throw new Error(usage);
  }
}

function tell(line: string): void {
  console.log(line);
}

/** Failures to connect may have a code and no message. */
function sentence(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as NodeJS.ErrnoException;
  return error.message === '' ? (code ?? error.name) : error.message;
}
