/** Finding a program that Mayfly needs beside Node: named by the environment, on the PATH, or from the system. */
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { installDebianPackage, mayInstallDebianPackages } from './debian-package.ts';

/** Folders that hold servers' programs and are often missing from a user's PATH. */
const MORE_FOLDERS = ['/usr/local/bin', '/usr/local/sbin', '/usr/sbin', '/usr/bin', '/opt/homebrew/bin'];

/** What is looked for and what to tell when it is not there. */
export interface ProgramQuery {
  /** The file name, `nats-server`. */
  readonly name: string;
  /** The environment variable that names the program's file and goes before everything else. */
  readonly envVariable: string;
  /** The Debian package that brings it. */
  readonly debianPackage: string;
  /** How to get it, one sentence per system. */
  readonly hints: Readonly<Record<'darwin' | 'linux' | 'win32', string>>;
}

/** The parts of the system that the search looks at; given only by tests. */
export interface ProgramSearch {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly moreFolders?: readonly string[];
  readonly platform?: NodeJS.Platform;
  readonly mayInstall?: () => boolean;
  readonly install?: (debianPackage: string) => void;
  /** Told in one line before something is installed; default standard error. */
  readonly log?: (line: string) => void;
}

/** A needed program is not on this machine; the message says how to get it. */
export class ProgramMissing extends Error {
  override readonly name = 'ProgramMissing';
}

/**
 * The full path of a program. Looks at its environment variable, the PATH and the usual folders; root on Debian or
 * Ubuntu gets it installed.
 * @throws ProgramMissing with one sentence on what to do
 */
export function findProgram(query: ProgramQuery, search: ProgramSearch = {}): string {
  const { env = process.env, moreFolders = MORE_FOLDERS } = search;
  const named = env[query.envVariable];
  if (named !== undefined && named !== '') {
    if (isExecutable(named)) return named;
    throw new ProgramMissing(`${query.envVariable} names ${named}, which is not a program that can be run.`);
  }
  const folders = [...(env['PATH'] ?? '').split(delimiter).filter(Boolean), ...moreFolders];
  return lookIn(folders, query.name) ?? installed(query, folders, search);
}

function installed(query: ProgramQuery, folders: readonly string[], search: ProgramSearch): string {
  const { mayInstall = mayInstallDebianPackages, install = installDebianPackage } = search;
  const { log = (line) => process.stderr.write(`${line}\n`), platform = process.platform } = search;
  const hint = query.hints[platform === 'darwin' || platform === 'win32' ? platform : 'linux'];
  const missing = `${query.name} is needed and was not found. ${hint} Or name its file in ${query.envVariable}.`;
  if (!mayInstall()) throw new ProgramMissing(missing);
  log(`${query.name} is not installed: installing the system package ${query.debianPackage} with apt-get.`);
  try {
    install(query.debianPackage);
  } catch (error) {
    throw new ProgramMissing(`${missing} (${error instanceof Error ? error.message : String(error)})`);
  }
  const path = lookIn(folders, query.name);
  if (path === undefined) throw new ProgramMissing(missing);
  return path;
}

function lookIn(folders: readonly string[], name: string): string | undefined {
  const names = process.platform === 'win32' ? [`${name}.exe`, name] : [name];
  return folders.flatMap((folder) => names.map((file) => join(folder, file))).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
