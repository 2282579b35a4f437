/**
 * Users and agents that policies name. Sessions have them in their one form (contracts, `identifiers.ts`), so a policy that spells
 * one in another form matches nobody: a `forbid` would let through whom it is meant to stop.
 */
import type { PolicyJson } from '@cedar-policy/cedar-wasm/nodejs';
import { AgentId, invisible, User } from '@mayfly/contracts';
import type { z } from 'zod';

export interface Misspelling {
  /** As it stands in the policy. */
  readonly written: string;
  readonly problem: string;
}

const forms: Readonly<Record<string, z.ZodType<string>>> = { user: User, agent_id: AgentId };

/** Names that a policy compares users or agents with and that nobody can have. */
export function misspellings(json: PolicyJson): Misspelling[] {
  const found = new Map<string, Misspelling>();
  const judge = (form: z.ZodType<string> | undefined, written: string): void => {
    const parsed = form?.safeParse(written);
    if (parsed === undefined || parsed.data === written) return;
    const advice = parsed.success ? `write ${quoted(parsed.data)}` : (parsed.error.issues[0]?.message ?? '');
    found.set(written, { written, problem: `nobody is known by the name ${quoted(written)}: ${advice}` });
  };
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    const { type, id } = value as { type?: unknown; id?: unknown };
    if ((type === 'Agent' || type === 'Person') && typeof id === 'string') judge(AgentId, id);
    for (const [operator, child] of Object.entries(value)) {
      const { left, right, pattern } = (child ?? {}) as {
        left?: unknown;
        right?: unknown;
        pattern?: unknown;
      };
      if (operator === 'like') judgePattern(attributeOf(left), pattern);
      else if (operator !== '&&' && operator !== '||') {
        for (const written of textsOf(right)) judge(forms[attributeOf(left) ?? ''], written);
        for (const written of textsOf(left)) judge(forms[attributeOf(right) ?? ''], written);
      }
      visit(child);
    }
  };
  /** A part of a user: only its letters can be judged. */
  const judgePattern = (attribute: string | undefined, pattern: unknown): void => {
    if (attribute !== 'user' || !Array.isArray(pattern)) return;
    const parts = pattern.map((part: unknown) => (part as { Literal?: string }).Literal ?? '');
    const written = parts.join('');
    const form = written.normalize('NFC').toLowerCase();
    if (form !== written)
      found.set(written, { written, problem: `users are in lower case and NFC: write ${quoted(form)}` });
  };
  visit([json.principal, json.resource, json.conditions]);
  return [...found.values()];
}

/** `user` of `principal.user`. */
function attributeOf(side: unknown): string | undefined {
  const access = (side as { '.'?: { attr?: unknown } } | undefined)?.['.'];
  return typeof access?.attr === 'string' ? access.attr : undefined;
}

/** The texts of a literal or of a set of them. */
function textsOf(side: unknown): string[] {
  const { Value, Set: set } = (side ?? {}) as { Value?: unknown; Set?: unknown };
  if (typeof Value === 'string') return [Value];
  return Array.isArray(set) ? set.flatMap(textsOf) : [];
}

/** As in a policy, cut, with what nobody sees told by its number. Names are no secrets. */
function quoted(name: string): string {
  const shown = [...name.slice(0, 100)].map((character) =>
    invisible.test(character) ? `\\u{${character.codePointAt(0)?.toString(16) ?? ''}}` : character,
  );
  return `"${shown.join('')}"`;
}
