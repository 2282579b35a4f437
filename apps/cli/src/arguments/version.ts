/** Versions of the configuration document on the command line. */
import { InvalidArgumentError } from 'commander';

/** @throws InvalidArgumentError for what is no version number. */
export function parseVersion(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a version number.');
  return Number(text);
}
