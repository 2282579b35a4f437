/**
 * The development stack's data folder: `MAYFLY_DATA_DIR`, else the nearest `.mayfly/` from here upward. Holds
 * `identities/{agent,administrator,auditor}.jwt`, and `stack.json` while the stack runs.
 *
 * Whoever can put a folder there decides which gateway is asked, so it is believed only if it is this user's own and nobody else can
 * change it; one that is not ends the command, because what would be asked instead was not meant either.
 */
import { lstatSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { CommandFailure, usageExit } from '../failure.ts';
import type { Io } from '../io.ts';
import { readPrivateFile } from '../trust/private-file.ts';
import { stepAt, wayTo, whyNotOwn, whyOpenToOthers } from '../trust/way.ts';

/** In bytes; what the stack writes is far smaller. */
const maxStackFileBytes = 65_536;

/** What the stack tells about itself; the parts that the command uses. */
export const StackFile = z.object({
  gateway_url: z.url(),
  postgres: z.object({ auditor_url: z.string() }).optional(),
  checkpoint_file: z.string().optional(),
  checkpoint_keys_file: z.string().optional(),
});
export type StackFile = z.infer<typeof StackFile>;

export interface DevelopmentFolder {
  readonly path: string;
  /** By `MAYFLY_DATA_DIR`; else it lay on the way upward, which whoever is in a folder of somebody else's making has not chosen. */
  readonly isNamed: boolean;
}

/** Undefined when there is none. Throws CommandFailure for one that is not to be trusted. */
export function findDevelopmentFolder({ env, cwd }: Pick<Io, 'env' | 'cwd'>): DevelopmentFolder | undefined {
  const named = env['MAYFLY_DATA_DIR'];
  if (named !== undefined && named !== '') return trusted({ path: resolve(cwd, named), isNamed: true });
  for (let folder = resolve(cwd); ; folder = dirname(folder)) {
    const path = join(folder, '.mayfly');
    if (mayBeFolder(path)) return trusted({ path, isNamed: false });
    if (dirname(folder) === folder) return undefined;
  }
}

/** `stack.json` of the folder; undefined when no stack is running there, or it says something else. Throws CommandFailure. */
export function readStackFile({ path }: DevelopmentFolder): StackFile | undefined {
  const content = readFolderFile(join(path, 'stack.json'), maxStackFileBytes);
  if (content === undefined) return undefined;
  try {
    return StackFile.safeParse(JSON.parse(content)).data;
  } catch {
    return undefined;
  }
}

/** The token of one of the identities, not looked at; undefined when it is not there. Throws CommandFailure. */
export function readIdentityFile(
  { path }: DevelopmentFolder,
  name: string,
  maxBytes: number,
): string | undefined {
  const folder = join(path, 'identities');
  if (!mayBeFolder(folder)) return undefined;
  const why = whyNotOwn(stepAt(folder), 'folder');
  if (why !== undefined) throw distrust(why);
  return readFolderFile(join(folder, `${name}.jwt`), maxBytes);
}

function readFolderFile(path: string, maxBytes: number): string | undefined {
  const file = readPrivateFile(path, maxBytes);
  if (file.outcome === 'distrusted') throw distrust(file.why);
  return file.outcome === 'read' ? file.content : undefined;
}

function trusted(folder: DevelopmentFolder): DevelopmentFolder | undefined {
  let why: string | undefined;
  try {
    const way = wayTo(folder.path);
    const last = way.at(-1);
    // A repository can hold a link to wherever its author likes; one that the user has named is followed.
    why =
      (folder.isNamed ? undefined : whyNotOwn(stepAt(folder.path), 'folder')) ??
      (last === undefined ? undefined : whyNotOwn(last, 'folder')) ??
      whyOpenToOthers(way);
  } catch {
    return undefined;
  }
  if (why !== undefined) throw distrust(why);
  return folder;
}

function distrust(why: string): CommandFailure {
  return new CommandFailure(`The development stack found here is not trusted: ${why}.`, {
    exit: usageExit,
    next: 'Only what is yours alone is believed. If it is yours, close it to others; else name a gateway (--url, MAYFLY_URL) and an identity.',
  });
}

/** A folder, or a link that may lead to one. */
function mayBeFolder(path: string): boolean {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  return stats !== undefined && (stats.isDirectory() || stats.isSymbolicLink());
}
