/** Every provider that the configuration may name. A new one is added here and in minting's `providers/registry.ts`. */
import type { JsonObject, Revocability } from '@mayfly/contracts';
import type { z } from 'zod';
import type { DefaultLimits, NarrowResult, ProviderDefinition, UnsafeRight } from './definition.ts';
import { jwtDefinition } from './jwt.ts';
import { postgresDefinition } from './postgres.ts';

/** A definition whose types have been forgotten: it takes plain JSON and its schemas restore the types at run time. */
export interface AnyProviderDefinition extends Pick<
  ProviderDefinition,
  'name' | 'secret' | 'secretProblem' | 'renewal' | 'nativeMinimumSeconds' | 'keepsConnection' | 'carryOver'
> {
  readonly integrationSettings: z.ZodType<object>;
  readonly credentialSettings: z.ZodType<object>;
  readonly scope: z.ZodType<object>;
  narrow(requested: unknown, bounds: JsonObject): NarrowResult<JsonObject>;
  writes(scope: JsonObject): boolean;
  unsafeRights(scope: JsonObject): readonly UnsafeRight[];
  revocability(settings: { integration: JsonObject; credential: JsonObject }): Revocability;
  secretReferences(settings: JsonObject): readonly string[];
  /** Undefined where leases of a credential are not limited unless the document says so. */
  defaultLimits(settings: JsonObject): DefaultLimits | undefined;
}

/** Parses before it calls, so that a definition never sees what its schemas have not seen. */
function erase<I extends object, C extends object, S extends object>(
  definition: ProviderDefinition<I, C, S>,
): AnyProviderDefinition {
  return {
    ...definition,
    narrow: (requested, bounds) =>
      // Scopes are JSON by their schemas; TypeScript can't see it, because an optional key is not one that is undefined.
      definition.narrow(requested, definition.scope.parse(bounds)) as NarrowResult<JsonObject>,
    writes: (scope) => definition.writes(definition.scope.parse(scope)),
    unsafeRights: (scope) => definition.unsafeRights?.(definition.scope.parse(scope)) ?? [],
    revocability: ({ integration, credential }) =>
      definition.revocability({
        integration: definition.integrationSettings.parse(integration),
        credential: definition.credentialSettings.parse(credential),
      }),
    secretReferences: (settings) =>
      definition.secretReferences(definition.integrationSettings.parse(settings)),
    defaultLimits: (settings) => definition.defaultLimits?.(definition.credentialSettings.parse(settings)),
  };
}

export const providerDefinitions: ReadonlyMap<string, AnyProviderDefinition> = new Map(
  [erase(postgresDefinition), erase(jwtDefinition)].map((definition) => [definition.name, definition]),
);
