/**
 * The one place from which providers are called: parses what policy signed with the provider's own schemas, gives each
 * call its deadline, its secrets and its span, and turns every failure into one of two kinds.
 */
import type { JsonObject, RecipientKey } from '@mayfly/contracts';
import { failpoint } from '@mayfly/service';
import { SpanAttribute, withSpan } from '@mayfly/telemetry';
import type { z } from 'zod';
import type { SecretReader } from '../secrets/secret-reader.ts';
import { deadlineIn, withinDeadline } from './deadline.ts';
import { asProviderFailure, ProviderRejected, ProviderUnavailable } from './provider-error.ts';
import type {
  InspectOutcome,
  LeaseContext,
  Minted,
  Provider,
  ReconcileOutcome,
  Renewed,
  RevokeOutcome,
} from './provider.ts';

/** Whose lease at which integration, as policy signed it. */
export interface ProviderCall {
  readonly leaseId: string;
  readonly organization: string;
  readonly provider: string;
  readonly integration: {
    readonly name: string;
    readonly settings: JsonObject;
    /** Prefixes of the references that may be resolved. */
    readonly secret_references: readonly string[];
  };
}

export interface MintCall extends ProviderCall {
  readonly settings: JsonObject;
  readonly bounds: JsonObject;
  readonly scope: JsonObject;
  readonly ttlSeconds: number;
  readonly grantedAt: Date;
  readonly agentId: string;
  readonly user?: string | undefined;
  readonly task?: string | undefined;
  readonly askerKey?: RecipientKey | undefined;
}

export interface RenewCall extends ProviderCall {
  readonly handle: JsonObject;
  readonly ttlSeconds: number;
  readonly notAfter: Date;
}

export interface ProviderRunnerOptions {
  readonly providers: ReadonlyMap<string, Provider>;
  readonly secrets: SecretReader;
  /** Of each call, in milliseconds. */
  readonly deadlineMs: number;
}

export class ProviderRunner {
  constructor(private readonly options: ProviderRunnerOptions) {}

  /**
   * Mints. A provider that answers after its deadline has minted all the same: that goes to `onLate`.
   * Throws ProviderRejected or ProviderUnavailable.
   */
  mint(call: MintCall, timeLeftMs: number, onLate: (minted: Minted) => void): Promise<Minted> {
    return this.#run(
      'mint',
      call,
      Math.min(this.options.deadlineMs, timeLeftMs),
      async (provider, context) => {
        const { definition } = provider;
        failpoint('minting.provider.before');
        const minting = provider.mint({
          ...context,
          credentialSettings: parse(
            definition.credentialSettings,
            call.settings,
            'the settings of the credential',
          ),
          bounds: parse(definition.scope, call.bounds, 'the bounds of the credential'),
          scope: parse(definition.scope, call.scope, 'the scope'),
          agentId: call.agentId,
          ttlSeconds: call.ttlSeconds,
          grantedAt: call.grantedAt,
          ...(call.user !== undefined && { user: call.user }),
          ...(call.task !== undefined && { task: call.task }),
          ...(call.askerKey !== undefined && { askerKey: call.askerKey }),
        });
        let late = false;
        minting.then(
          (minted) => {
            failpoint('minting.provider.after');
            if (late) onLate(minted);
          },
          () => undefined,
        );
        return withinDeadline(minting, context.deadline, () => {
          late = true;
          return tooLate();
        });
      },
    );
  }

  /** Throws ProviderRejected or ProviderUnavailable. */
  revoke(call: ProviderCall & { readonly handle: JsonObject }): Promise<RevokeOutcome> {
    return this.#run('revoke', call, this.options.deadlineMs, (provider, context) =>
      withinDeadline(provider.revoke({ ...context, handle: call.handle }), context.deadline, tooLate),
    );
  }

  /** Nothing where the provider leaves nothing behind. Throws ProviderRejected or ProviderUnavailable. */
  cleanUp(call: ProviderCall & { readonly handle: JsonObject }): Promise<void> {
    return this.#run('clean-up', call, this.options.deadlineMs, async (provider, context) => {
      const cleaning = provider.cleanUp?.({ ...context, handle: call.handle });
      if (cleaning !== undefined) await withinDeadline(cleaning, context.deadline, tooLate);
    });
  }

  /** Throws ProviderRejected or ProviderUnavailable. */
  reconcile(call: ProviderCall & { readonly settings: JsonObject }): Promise<ReconcileOutcome> {
    return this.#run('reconcile', call, this.options.deadlineMs, (provider, context) => {
      const credentialSettings = parse(
        provider.definition.credentialSettings,
        call.settings,
        'the settings of the credential',
      );
      return withinDeadline(
        provider.reconcile({ ...context, credentialSettings }),
        context.deadline,
        tooLate,
      );
    });
  }

  /** Throws ProviderRejected or ProviderUnavailable. */
  renew(call: RenewCall, timeLeftMs: number): Promise<Renewed | 'gone'> {
    const deadlineMs = Math.min(this.options.deadlineMs, timeLeftMs);
    return this.#run('renew', call, deadlineMs, (provider, context) => {
      if (provider.renew === undefined) throw new ProviderRejected('the provider cannot renew in place');
      const { handle, ttlSeconds, notAfter } = call;
      failpoint('minting.renewal.before');
      const renewing = provider.renew({ ...context, handle, ttlSeconds, notAfter }).then((renewed) => {
        failpoint('minting.renewal.after');
        return renewed;
      });
      return withinDeadline(renewing, context.deadline, tooLate);
    });
  }

  /** Undefined where the provider can't list. Throws ProviderRejected or ProviderUnavailable. */
  list(
    call: Omit<ProviderCall, 'leaseId'> & {
      readonly mark: string;
      readonly after?: string;
      readonly limit: number;
    },
  ): Promise<readonly string[] | undefined> {
    const { mark, after, limit } = call;
    return this.#run('list', call, this.options.deadlineMs, async (provider, context) => {
      if (provider.list === undefined) return undefined;
      const page = { mark, limit, ...(after !== undefined && { after }) };
      return withinDeadline(provider.list({ ...context, ...page }), context.deadline, tooLate);
    });
  }

  /** `unknown` where the provider can't say. Throws ProviderRejected or ProviderUnavailable. */
  inspect(call: ProviderCall & { readonly handle: JsonObject }): Promise<InspectOutcome> {
    return this.#run('inspect', call, this.options.deadlineMs, async (provider, context) => {
      if (provider.inspect === undefined) return 'unknown';
      return withinDeadline(provider.inspect({ ...context, handle: call.handle }), context.deadline, tooLate);
    });
  }

  async #run<T>(
    verb: 'mint' | 'revoke' | 'clean-up' | 'reconcile' | 'renew' | 'list' | 'inspect',
    call: Omit<ProviderCall, 'leaseId'> & { readonly leaseId?: string },
    deadlineMs: number,
    fn: (provider: Provider, context: LeaseContext<object>) => Promise<T>,
  ): Promise<T> {
    const attributes = {
      ...(call.leaseId !== undefined && { [SpanAttribute.leaseId]: call.leaseId }),
      [SpanAttribute.organization]: call.organization,
      [SpanAttribute.integration]: call.integration.name,
      [SpanAttribute.provider]: call.provider,
    };
    return withSpan(`provider.${verb}`, { attributes }, async () => {
      try {
        const provider = this.options.providers.get(call.provider);
        if (provider === undefined) throw new ProviderRejected('the provider is not known');
        const { name, settings, secret_references: prefixes } = call.integration;
        return await fn(provider, {
          leaseId: call.leaseId ?? '',
          organization: call.organization,
          integration: name,
          integrationSettings: parse(
            provider.definition.integrationSettings,
            settings,
            'the settings of the integration',
          ),
          secrets: (reference) => this.options.secrets.read(reference, prefixes),
          deadline: deadlineIn(deadlineMs, { isVital: verb === 'revoke' || verb === 'reconcile' }),
        });
      } catch (error) {
        throw asProviderFailure(error);
      }
    });
  }
}

function parse<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new ProviderRejected(`${what} are not in the provider's form`, { cause: parsed.error });
}

function tooLate(): ProviderUnavailable {
  return new ProviderUnavailable('the upstream did not answer in time', { effect: 'unknown' });
}
