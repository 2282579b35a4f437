/**
 * `stack.json` in the data folder, 0600, there while a stack runs: where its parts are. The `mayfly` command finds the
 * gateway and the auditor's database by it.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { replaceSecretFile } from '../keys/key-files.ts';
import type { Stack } from '../stack-options.ts';

/** The content of the file. */
export interface StackFile {
  readonly gateway_url: string;
  readonly postgres: { readonly auditor_url: string };
  readonly checkpoint_file: string;
  readonly checkpoint_keys_file: string;
}

/** Writes the file and gives the function that removes it. */
export function writeStackFile(stack: Stack): () => void {
  const path = join(stack.dataDirectory, 'stack.json');
  const content: StackFile = {
    gateway_url: stack.gatewayUrl,
    postgres: { auditor_url: stack.postgres.auditorUrl },
    checkpoint_file: stack.checkpointFile,
    checkpoint_keys_file: join(stack.keysFolder, 'public', 'checkpoint.jwks.json'),
  };
  replaceSecretFile(path, `${JSON.stringify(content, null, 2)}\n`);
  return () => {
    rmSync(path, { force: true });
  };
}
