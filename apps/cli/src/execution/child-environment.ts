/** The child's environment: mayfly's own, less what would get in the credentials' way, plus the credentials. */
import { usageFailure } from '../failure.ts';
import type { Io } from '../io.ts';
import type { OpenedLease } from '../credentials/lease.ts';
import {
  conflictingVariables,
  variableName,
  variablesOf,
  variablesWithFile,
  type Variables,
} from '../credentials/variables.ts';
import type { SecretFiles } from './secret-files.ts';

/**
 * What goes before each variable, by credential: nothing for one alone, its name for several. Throws for names that would
 * get in each other's way.
 */
export function prefixesOf(credentials: readonly string[], given = ''): ReadonlyMap<string, string> {
  const prefixes = new Map<string, string>();
  for (const credential of credentials) {
    const prefix = credentials.length === 1 ? given : `${given}${variableName(credential)}_`;
    if (prefixes.has(credential) || [...prefixes.values()].includes(prefix)) {
      throw usageFailure(
        `The variables of ${credential} would hide those of another credential.`,
        'Name each credential once.',
      );
    }
    prefixes.set(credential, prefix);
  }
  return prefixes;
}

/** @param files where secrets go instead of the environment; undefined: into the environment. */
export function childEnvironment(
  inherited: Io['env'],
  leases: readonly { readonly prefix: string; readonly lease: OpenedLease }[],
  files: SecretFiles | undefined,
): Record<string, string | undefined> {
  const environment: Record<string, string | undefined> = { ...inherited };
  // The child was given one credential, not the identity that can ask for all of them.
  delete environment['MAYFLY_IDENTITY_TOKEN'];
  for (const { prefix, lease } of leases) {
    for (const name of conflictingVariables(lease)) delete environment[prefix + name];
    for (const [name, value] of Object.entries(variablesFor(lease, prefix, files))) {
      environment[prefix + name] = value;
    }
  }
  return environment;
}

function variablesFor(lease: OpenedLease, prefix: string, files: SecretFiles | undefined): Variables {
  if (files === undefined) return variablesOf(lease);
  const { variables, file } = variablesWithFile(lease);
  return { ...variables, [file.variable]: files.write(`${prefix}${file.variable}`, file.content) };
}
