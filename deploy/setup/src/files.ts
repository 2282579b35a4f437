/** Files of the set-up: replaced in one step, so that whoever reads sees the old or the new one, whole. */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** Writes a secret file, 0600 in a folder 0700. */
export function writePrivateFile(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true });
  chmodSync(dirname(path), 0o700);
  replace(path, content, 0o600);
}

/** Writes a file that everybody may read. */
export function writePublicFile(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true });
  replace(path, content, 0o644);
}

/** The content of a secret file without the line break at its end. @throws Error when it is missing or empty */
export function readSecretFile(path: string): string {
  const content = readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  if (content === '') throw new Error(`${path} is empty.`);
  return content;
}

function replace(path: string, content: string, mode: number): void {
  const staged = `${path}.${randomBytes(6).toString('hex')}.new`;
  writeFileSync(staged, content, { mode, flag: 'wx' });
  renameSync(staged, path);
}
