/**
 * The secrets of a configuration document that can be seen from here: variables of this environment, files of this machine. Minting may
 * run elsewhere, so what can't be seen is no problem; what can be seen and is of no use would be none at minting either.
 */
import { readFileSync, statSync } from 'node:fs';
import type { ConfigProblem } from '@mayfly/contracts';
import type { Io } from '../io.ts';

/** Minting reads no larger ones, in bytes. */
const maxSecretBytes = 65_536;

/** For `parseConfiguration`: the value that a reference leads to, without the line break at its end. */
export function visibleSecrets({ env }: Pick<Io, 'env'>): (reference: string) => string | undefined {
  return (reference) => {
    const [, scheme, place = ''] = /^(env|file):(.+)$/s.exec(reference) ?? [];
    const value = scheme === 'env' ? env[place] : scheme === 'file' ? readSmallFile(place) : undefined;
    const trimmed = value?.replace(/\r?\n$/, '');
    return trimmed === '' ? undefined : trimmed;
  };
}

/**
 * What is wrong with the secrets of a document, if nothing else is: whatever else may be wrong is for the policy service to say, which
 * may be of another version.
 */
export async function secretProblems(
  io: Pick<Io, 'env'>,
  document: string,
): Promise<readonly ConfigProblem[]> {
  // Loaded only here: the policy engine in it would slow every other command down.
  const { parseConfiguration } = await import('@mayfly/configuration');
  const parsed = parseConfiguration(document, { secretAt: visibleSecrets(io) });
  if (parsed.outcome === 'ok' || parseConfiguration(document).outcome === 'rejected') return [];
  return parsed.problems;
}

function readSmallFile(path: string): string | undefined {
  try {
    const stat = statSync(path);
    return stat.isFile() && stat.size <= maxSecretBytes ? readFileSync(path, 'utf8') : undefined;
  } catch {
    return undefined;
  }
}
