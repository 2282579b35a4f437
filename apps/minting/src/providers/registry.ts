/** Every provider that minting can call; the pure halves are listed in `@mayfly/domain`. */
import type { SigningKeys } from '@mayfly/tokens';
import { JwtProvider } from './jwt/jwt-provider.ts';
import { PostgresProvider, type PostgresProviderOptions } from './postgres/postgres-provider.ts';
import type { Provider } from './provider.ts';

export interface ProviderSettings {
  readonly postgres: PostgresProviderOptions;
  readonly jwt: { readonly issuer: string; readonly keys: SigningKeys };
}

/** By the name that `mayfly.yaml` gives them. */
export function createProviders(settings: ProviderSettings): ReadonlyMap<string, Provider> {
  const providers = [erase(new PostgresProvider(settings.postgres)), erase(new JwtProvider(settings.jwt))];
  return new Map(providers.map((provider) => [provider.definition.name, provider]));
}

/** Forgets the types of settings and scopes: the runner parses with the provider's own schemas before each call. */
function erase<I extends object, C extends object, S extends object>(provider: Provider<I, C, S>): Provider {
  return provider;
}
