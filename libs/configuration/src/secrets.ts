/** What an integration refers to, where it can be seen: `mayfly config check` runs where some of the secrets are, policy never does. */
import type { JsonObject } from '@mayfly/contracts';
import type { AnyProviderDefinition } from '@mayfly/domain';
import type { Path, Problems } from './document/problems.ts';

/** The value that a reference leads to; undefined where it can't be seen from here. */
export type SecretAt = (reference: string) => string | undefined;

/** Judges by the provider's own rules. The values are never repeated. */
export function checkSecrets(
  definition: AnyProviderDefinition,
  settings: JsonObject,
  secretAt: SecretAt,
  path: Path,
  problems: Problems,
): void {
  for (const reference of definition.secretReferences(settings)) {
    const value = secretAt(reference);
    const problem = value === undefined ? undefined : definition.secretProblem?.(value);
    if (problem === undefined) continue;
    const key = Object.keys(settings).find((name) => settings[name] === reference);
    problems.add(key === undefined ? path : [...path, key], problem);
  }
}
