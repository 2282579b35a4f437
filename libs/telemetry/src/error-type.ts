/**
 * What a span or a label may say about an error: its kind, never its message. Messages quote what was wrong (a piece
 * of a body, a literal of a statement), so they could carry a secret; names and codes come from a closed vocabulary.
 */
export interface ErrorKind {
  /** Class name, such as `MayflyError` or `TypeError`. */
  readonly name: string;
  /** Code of Mayfly's error table, an SQLSTATE, or a Node code such as `ECONNREFUSED`. */
  readonly code?: string;
}

const word = /^[\w.-]{1,64}$/;

/** Reads name and code of anything thrown. What does not look like a plain word is left out. */
export function errorKind(error: unknown): ErrorKind {
  if (typeof error !== 'object' || error === null) return { name: 'Error' };
  const { name, code } = error as { name?: unknown; code?: unknown };
  return {
    name: typeof name === 'string' && word.test(name) ? name : 'Error',
    ...(typeof code === 'string' && word.test(code) ? { code } : {}),
  };
}

/** The value of OTel's `error.type` attribute: the code where there is one, else the class name. */
export function errorType(error: unknown): string {
  const { name, code } = errorKind(error);
  return code ?? name;
}
