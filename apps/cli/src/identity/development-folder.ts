/**
 * The development stack's data folder: `MAYFLY_DATA_DIR`, else the nearest `.mayfly/` from here upward. Holds
 * `identities/{agent,administrator,auditor}.jwt`, and `stack.json` while the stack runs.
 */
import { readFile, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import type { Io } from '../io.ts';

/** What the stack tells about itself; the parts that the command uses. */
export const StackFile = z.object({
  gateway_url: z.url(),
  postgres: z.object({ auditor_url: z.string() }).optional(),
  checkpoint_file: z.string().optional(),
  checkpoint_keys_file: z.string().optional(),
});
export type StackFile = z.infer<typeof StackFile>;

/** Undefined when there is none. */
export async function findDevelopmentFolder({
  env,
  cwd,
}: Pick<Io, 'env' | 'cwd'>): Promise<string | undefined> {
  const named = env['MAYFLY_DATA_DIR'];
  if (named !== undefined && named !== '') return resolve(cwd, named);
  for (let folder = resolve(cwd); ; folder = dirname(folder)) {
    const candidate = join(folder, '.mayfly');
    if (await isFolder(candidate)) return candidate;
    if (dirname(folder) === folder) return undefined;
  }
}

/** `stack.json` of the folder; undefined when no stack is running there, or the file is not readable. */
export async function readStackFile(folder: string): Promise<StackFile | undefined> {
  try {
    const parsed = StackFile.safeParse(JSON.parse(await readFile(join(folder, 'stack.json'), 'utf8')));
    return parsed.data;
  } catch {
    return undefined;
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}
