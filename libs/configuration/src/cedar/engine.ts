/**
 * The Cedar engine (WebAssembly), guarded. Two things of it need care:
 * - a policy that is nested too deeply overflows the engine's stack, after which that instance answers nothing any more.
 *   `split.ts` refuses such policies first; should one slip through, the instance is thrown away and the next call
 *   starts a fresh one, and the call that failed counts as an error, which denies.
 * - preparsed policy sets are never freed by the engine: they live in a bounded number of slots, the longest unused
 *   of which is overwritten.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { compileFunction } from 'node:vm';
import type * as Cedar from '@cedar-policy/cedar-wasm/nodejs';

/** About 5 KiB each for a handful of policies. */
export const maxSlots = 4096;

export type CedarModule = Pick<
  typeof Cedar,
  | 'policySetTextToParts'
  | 'policyToJson'
  | 'preparsePolicySet'
  | 'statefulIsAuthorized'
  | 'validate'
  | 'isAuthorized'
>;

interface Engine {
  readonly cedar: CedarModule;
  /** Key of a policy set → its slot, longest unused first. */
  readonly slots: Map<string, string>;
}

let running: Engine | undefined;

/** Loads the package's CommonJS module anew: `require` would give the same broken instance again. */
function start(): Engine {
  const resolver = createRequire(import.meta.url);
  const file = resolver.resolve('@cedar-policy/cedar-wasm/nodejs');
  const module = { exports: {} as CedarModule };
  const body = compileFunction(
    readFileSync(file, 'utf8'),
    ['exports', 'require', 'module', '__filename', '__dirname'],
    { filename: file },
  ) as (...parameters: unknown[]) => void;
  body(module.exports, createRequire(file), module, file, dirname(file));
  return { cedar: module.exports, slots: new Map() };
}

/** Calls the engine. `undefined` means that it broke (never that it said no); a fresh one stands in for it from then on. */
export function withCedar<T>(call: (cedar: CedarModule) => T): T | undefined {
  try {
    running ??= start();
    return call(running.cedar);
  } catch {
    running = undefined;
    return undefined;
  }
}

/**
 * Evaluates a request against a policy set that is parsed once per `key`. `undefined` means that the engine broke or the
 * policy set could not be parsed.
 */
export function authorizeWith(
  key: string,
  policies: () => Record<string, string>,
  request: Omit<Cedar.StatefulAuthorizationCall, 'preparsedPolicySetId'>,
): Cedar.AuthorizationAnswer | undefined {
  return withCedar((cedar) => {
    const slots = running?.slots;
    if (!slots) return undefined;
    let slot = slots.get(key);
    if (slot === undefined) {
      slot = freeSlot(slots);
      if (cedar.preparsePolicySet(slot, { staticPolicies: policies() }).type !== 'success') {
        // The slot may have been another's, and what is in it now is not known: with it goes the instance.
        throw new Error('a policy set cannot be parsed');
      }
    } else {
      slots.delete(key);
    }
    slots.set(key, slot);
    return cedar.statefulIsAuthorized({ ...request, preparsedPolicySetId: slot });
  });
}

function freeSlot(slots: Map<string, string>): string {
  if (slots.size < maxSlots) return `slot-${slots.size}`;
  const [oldest] = slots;
  if (!oldest) return 'slot-0';
  slots.delete(oldest[0]);
  return oldest[1];
}
