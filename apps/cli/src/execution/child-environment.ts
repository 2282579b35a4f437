/** The child's environment: mayfly's own, less what would get in the credentials' way, plus the credentials. */
import { usageFailure } from '../failure.ts';
import type { Io } from '../io.ts';
import type { OpenedLease } from '../credentials/lease.ts';
import {
  misleadingVariables,
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
  const environment: Record<string, string | undefined> = Object.fromEntries(
    Object.entries(inherited).filter(([name]) => !isMayflysOwn(name)),
  );
  for (const { prefix, lease } of leases) {
    // Without the prefix, too: a tool that is given the lease's URL fills what the URL leaves open from there.
    for (const name of misleadingVariables(lease)) {
      delete environment[name];
      delete environment[prefix + name];
    }
  }
  for (const { prefix, lease } of leases) {
    for (const [name, value] of Object.entries(variablesFor(lease, prefix, files))) {
      environment[prefix + name] = value;
    }
  }
  return environment;
}

/**
 * The child was given credentials, not the identity that can ask for all of them, nor what a service or another `mayfly exec` was
 * given: every variable of Mayfly's is a secret, names one, or is about another lease, except for where the gateway is. Kept is
 * only what is known to be harmless, so that one of a later version is none.
 */
function isMayflysOwn(name: string): boolean {
  return name.startsWith('MAYFLY_') && name !== 'MAYFLY_URL';
}

function variablesFor(lease: OpenedLease, prefix: string, files: SecretFiles | undefined): Variables {
  if (files === undefined) return variablesOf(lease);
  const { variables, file } = variablesWithFile(lease);
  return { ...variables, [file.variable]: files.write(`${prefix}${file.variable}`, file.content) };
}
