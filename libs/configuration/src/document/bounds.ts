/**
 * How much a document may ask of whoever reads it, found out before it is read: building its values calls itself for each level of nesting,
 * and takes a while for each part. A document of brackets alone would use up the stack, which can end the process, and hold up for seconds
 * all that the process does.
 */
import { Lexer, Parser } from 'yaml';

/** Levels of lists and maps within each other; more than may be used, so that whoever uses some too many is told exactly where. */
const maxOpen = 40;
/** Keys, values, indentations, line breaks and signs. An ordinary document has one for each 2.5 to 5 characters. */
const maxParts = 400_000;
/** So many mistakes in a row are no document with mistakes. */
const maxErrors = 100;

export type Excess = 'depth' | 'parts' | 'errors';

/** What there is too much of, with the offset where it becomes too much. `undefined` where all of it may be read. */
export function excessOf(document: string): { excess: Excess; offset: number } | undefined {
  const parser = new Parser();
  let parts = 0;
  let errors = 0;
  let offset = 0;
  for (const part of new Lexer().lex(document)) {
    if (++parts > maxParts) return { excess: 'parts', offset };
    for (const token of parser.next(part))
      if (token.type === 'error' && ++errors > maxErrors) return { excess: 'errors', offset };
    if (parser.stack.length > maxOpen) return { excess: 'depth', offset };
    if (!isControl(part)) offset += part.length;
  }
  return undefined;
}

/** Signs of the lexer that stand for nothing in the document: byte order mark, beginning of a document or of a scalar, end of a flow. */
function isControl(part: string): boolean {
  return part === '\u0002' || part === '\u0018' || part === '\u001f';
}
