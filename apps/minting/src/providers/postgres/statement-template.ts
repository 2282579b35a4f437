/**
 * Custom statements: `CREATE ROLE {{name}} LOGIN PASSWORD {{verifier}} VALID UNTIL {{expiration}}`. A placeholder becomes a
 * whole quoted identifier or literal. One inside quotes or a comment, or glued to other text, would change what the quoting
 * means, so such a template is refused, as are unknown placeholders and quotes that never end. Escapes follow
 * `standard_conforming_strings = on`, which the connection sets (PostgreSQL documentation §4.1).
 */
import pg from 'pg';
import { ProviderRejected } from '../provider-error.ts';

/** What may stand in a template, and how it is quoted. */
const quoting = {
  name: pg.escapeIdentifier,
  group: pg.escapeIdentifier,
  verifier: pg.escapeLiteral,
  expiration: pg.escapeLiteral,
} as const;

export type Placeholder = keyof typeof quoting;

/** The values; a placeholder without one is refused. */
export type TemplateValues = Partial<Record<Placeholder, string>>;

/** One lexical element that may hold quotes, or a placeholder. Sticky, so that nothing is skipped. */
const elements = {
  placeholder: /\{\{\s*([A-Za-z_]*)\s*\}\}/y,
  identifier: /"(?:[^"]|"")*"/y,
  escapeString: /[eE]'(?:[^'\\]|\\[\s\S]|'')*'/y,
  string: /'(?:[^']|'')*'/y,
  dollarString: /\$([A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$[\s\S]*?\$\1\$/y,
  lineComment: /--[^\n\r]*/y,
  word: /[A-Za-z0-9_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*/y,
} as const;

/** Characters that, right beside a placeholder, would make something else of its quotes: `E'…'`, `U&"…"`, `''…`. */
const gluing = /[A-Za-z0-9_$'"&\u0080-\uffff}]/;

/** The statement with its values in place. Throws ProviderRejected when the template is not sound. */
export function renderStatement(template: string, values: TemplateValues): string {
  let rendered = '';
  for (const { kind, text, name } of tokens(template)) {
    if (kind !== 'placeholder') rendered += text;
    else rendered += valueOf(name ?? '', values);
  }
  return rendered;
}

/** The placeholders that a template uses. Throws ProviderRejected when the template is not sound. */
export function placeholdersOf(template: string): ReadonlySet<string> {
  return new Set(
    [...tokens(template)].flatMap(({ kind, name }) => (kind === 'placeholder' ? [name ?? ''] : [])),
  );
}

interface Token {
  readonly kind: 'placeholder' | 'text';
  readonly text: string;
  readonly name?: string;
}

function* tokens(template: string): Generator<Token> {
  let position = 0;
  while (position < template.length) {
    const token = tokenAt(template, position);
    if (token.kind === 'placeholder') {
      const before = template[position - 1] ?? '';
      const after = template[position + token.text.length] ?? '';
      if (gluing.test(before) || gluing.test(after)) throw unsound('has a placeholder glued to other text');
    } else if (token.text.includes('{{')) {
      throw unsound('has a placeholder inside quotes or a comment');
    }
    yield token;
    position += token.text.length;
  }
}

function tokenAt(template: string, position: number): Token {
  const placeholder = matchAt(elements.placeholder, template, position);
  if (placeholder !== undefined) {
    return { kind: 'placeholder', text: placeholder[0], name: placeholder[1] ?? '' };
  }
  if (template.startsWith('/*', position)) return { kind: 'text', text: blockComment(template, position) };
  const { identifier, escapeString, string, dollarString, lineComment, word } = elements;
  for (const element of [identifier, escapeString, string, dollarString, lineComment, word]) {
    const match = matchAt(element, template, position);
    if (match !== undefined) return { kind: 'text', text: match[0] };
  }
  const character = template[position] ?? '';
  if (character === '"' || character === "'") throw unsound('has a quote that does not end');
  if (template.startsWith('{{', position)) throw unsound('has a placeholder that does not end');
  if (character === '\0') throw unsound('has a NUL');
  return { kind: 'text', text: character };
}

function matchAt(pattern: RegExp, text: string, position: number): RegExpExecArray | undefined {
  pattern.lastIndex = position;
  return pattern.exec(text) ?? undefined;
}

/** Block comments nest (§4.1.5). */
function blockComment(template: string, start: number): string {
  let depth = 0;
  for (let position = start; position < template.length; position++) {
    if (template.startsWith('/*', position)) depth++;
    else if (template.startsWith('*/', position)) depth--;
    else continue;
    position++;
    if (depth === 0) return template.slice(start, position + 1);
  }
  throw unsound('has a comment that does not end');
}

function valueOf(name: string, values: TemplateValues): string {
  const value = Object.hasOwn(quoting, name) ? values[name as Placeholder] : undefined;
  if (value === undefined) throw unsound(`uses {{${name.slice(0, 63)}}}, which means nothing here`);
  // `escapeLiteral` puts a blank before `E'…'`, which it writes for a backslash; around it nothing may be glued anyway.
  return quoting[name as Placeholder](value);
}

function unsound(what: string): ProviderRejected {
  return new ProviderRejected(`a custom statement of the credential ${what}`);
}
