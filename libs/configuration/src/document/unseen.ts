/**
 * Characters that a reader of a document does not see for what they are: a line that looks like a comment to its end is none behind
 * a lone carriage return, and bidirectional controls show text in another order than it is read (CVE-2021-42574).
 */

/** In the document as it is written. A line ends with LF or CR LF alone: YAML, Cedar and editors disagree about all others. */
const inDocument =
  /[\0-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069\p{Cs}]|\r(?!\n)/u;

/**
 * In policy text, which escapes of YAML may have led to: nor what has no width. Cedar's own escapes (`\u{200b}`) stay possible, and
 * the selectors that make an emoji of a sign.
 */
const inPolicies =
  /(?![\t\n\r\uFE0E\uFE0F])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]|\r(?!\n)/u;

export interface Unseen {
  readonly offset: number;
  /** What to do about it. */
  readonly message: string;
}

/** The first such character of a whole document. A byte order mark at its beginning is none. */
export function unseenInDocument(document: string): Unseen | undefined {
  return first(inDocument, document);
}

/** The first such character of policy text. */
export function unseenInPolicies(text: string): Unseen | undefined {
  return first(inPolicies, text);
}

function first(pattern: RegExp, text: string): Unseen | undefined {
  const found = pattern.exec(text);
  if (!found) return undefined;
  const code = (found[0].codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0');
  const message =
    found[0] === '\r'
      ? 'a carriage return (U+000D) stands here without a line feed; end lines with LF or CR LF'
      : `a control character (U+${code}) stands here, which cannot be seen; remove it`;
  return { offset: found.index, message };
}
