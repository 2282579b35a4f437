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
    const problem =
      value === undefined ? undefined : definition.secretProblem(value, { settings, reference });
    if (problem !== undefined) problems.add([...path, ...whereIs(reference, settings)], problem);
  }
}

/** Where among the settings of an integration a reference stands, by itself or in a list. */
export function whereIs(reference: string, settings: JsonObject): Path {
  for (const [key, value] of Object.entries(settings)) {
    if (value === reference) return [key];
    if (Array.isArray(value) && value.includes(reference)) return [key, value.indexOf(reference)];
  }
  return [];
}
