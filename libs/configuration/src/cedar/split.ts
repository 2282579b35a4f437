/**
 * Cedar text to single policies, with where each begins, and the bounds that keep the engine's stack whole. What is in a policy, and
 * how many there are, is for Cedar's own parser to say: `policies.ts` refuses text of which it says something else.
 */

export interface WrittenPolicy {
  readonly text: string;
  /** Offset of its first character in the text that was split. */
  readonly offset: number;
  /** Why it is not given to the engine, where it is not. */
  readonly refusal?: string;
}

/**
 * The engine breaks at 100 brackets inside each other, 400 `if`s, 800 operators in a row (measured, version 4.13). These
 * bounds stay well below, also where they meet.
 */
const maxBracketDepth = 24;
const maxIfs = 24;
const maxOperators = 250;
const maxPolicyLength = 16_384;

/** A comment, which ends where Cedar ends it (LF or CR), a string, an operator, a word, or any other character. Every branch is linear. */
const token = /\/\/[^\n\r]*|"(?:[^"\\]|\\[^])*"?|&&|\|\||[=!<>]=|::|[A-Za-z_][A-Za-z0-9_]*|[^]/gy;

const operators = new Set([
  '&&',
  '||',
  '==',
  '!=',
  '<=',
  '>=',
  '<',
  '>',
  '+',
  '-',
  '*',
  '!',
  '.',
  'in',
  'has',
  'like',
  'is',
]);
const clauses = new Set(['when', 'unless', '@']);

/** A `;` ends a policy: Cedar has it nowhere else outside of strings and comments. What follows the last one is a policy too, a broken one. */
export function splitPolicies(text: string): WrittenPolicy[] {
  const policies: WrittenPolicy[] = [];
  let start: number | undefined;
  let depth = 0;
  let deepest = 0;
  let counted = { ifs: 0, operators: 0, clauses: 0 };
  const end = (until: number) => {
    if (start === undefined) return;
    const body = text.slice(start, until);
    const refusal = refusalOf(body, deepest, counted);
    policies.push({ text: body.trimEnd(), offset: start, ...(refusal !== undefined && { refusal }) });
    start = undefined;
    depth = deepest = 0;
    counted = { ifs: 0, operators: 0, clauses: 0 };
  };
  for (const match of text.matchAll(token)) {
    const part = match[0];
    if (part.startsWith('//') || part.trim() === '') continue;
    start ??= match.index;
    if (part === '(' || part === '[' || part === '{') deepest = Math.max(deepest, ++depth);
    else if (part === ')' || part === ']' || part === '}') depth--;
    else if (part === 'if') counted.ifs++;
    else if (operators.has(part)) counted.operators++;
    else if (clauses.has(part)) counted.clauses++;
    else if (part === ';') end(match.index + 1);
  }
  end(text.length);
  return policies;
}

function refusalOf(
  body: string,
  deepest: number,
  counted: { ifs: number; operators: number; clauses: number },
): string | undefined {
  if (body.length > maxPolicyLength)
    return `the policy is longer than ${maxPolicyLength} characters; split it`;
  if (deepest > maxBracketDepth)
    return `the policy has more than ${maxBracketDepth} brackets inside each other; simplify it`;
  if (counted.ifs > maxIfs) return `the policy has more than ${maxIfs} "if"s; split it`;
  if (counted.operators > maxOperators) return `the policy has more than ${maxOperators} operators; split it`;
  if (counted.clauses > maxOperators)
    return `the policy has more than ${maxOperators} clauses and annotations; split it`;
  return undefined;
}
