/** Mayfly with something to ask for: the stack, the example configuration, and a database with rows. */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { repositoryRoot } from '../services/start-service.ts';
import { startStack } from '../stack.ts';
import type { Stack, StackOptions } from '../stack-options.ts';
import { prepareOrdersDatabase } from './orders-database.ts';
import { writeStackFile } from './stack-file.ts';

/** The example configuration, with `${MAYFLY_DATA}` where the data folder stands. */
export const DEVELOPMENT_CONFIGURATION = join(repositoryRoot(), 'deploy', 'development', 'mayfly.yaml');

/** Development, and what tests and benchmarks run against. */
export interface DevelopmentStack extends Stack {
  /** Administrator of the database `orders`. Secret. */
  readonly ordersAdminUrl: string;
}

/** Starts the stack; the rows are there and the configuration applied when it returns. */
export async function startDevelopmentStack(
  options: StackOptions & { readonly configuration?: string } = {},
): Promise<DevelopmentStack> {
  const { configuration = readFileSync(DEVELOPMENT_CONFIGURATION, 'utf8'), ...stackOptions } = options;
  let ordersAdminUrl = '';
  const stack = await startStack({
    ...stackOptions,
    prepare: async (parts) => {
      const { adminUrl, dataDirectory } = parts;
      ordersAdminUrl = await prepareOrdersDatabase(adminUrl, randomBytes(24).toString('base64url'));
      const configFile = join(dataDirectory, 'mayfly.yaml');
      writeFileSync(configFile, configuration.replaceAll('${MAYFLY_DATA}', dataDirectory));
      const prepared = await stackOptions.prepare?.(parts);
      return {
        ...prepared,
        configFile,
        mintingSecrets: {
          ORDERS_ADMIN_URL: ordersAdminUrl,
          ...options.mintingSecrets,
          ...prepared?.mintingSecrets,
        },
      };
    },
  });
  const removeStackFile = writeStackFile(stack);
  return {
    ...stack,
    ordersAdminUrl,
    stop: async () => {
      removeStackFile();
      await stack.stop();
    },
  };
}
