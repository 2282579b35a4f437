/**
 * Whether the text of a stored event is the one that was written. A hash is taken over what ECMAScript reads, which rounds numbers;
 * Postgres stores them exactly and shows them with every digit. So `5` could become `5.0`, or a number with more digits than a
 * double has, without any change of the hash, and with other answers to queries.
 */

/** A string of JSON, or a number. Strings are matched so that what looks like a number within them is passed over. */
const stringOrNumber = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g;

/** False when a number in the text, as `jsonb` prints it, is not what a written number comes back as. */
export function hasWrittenNumbers(text: string): boolean {
  for (const [token] of text.matchAll(stringOrNumber)) {
    if (!token.startsWith('"') && !isWrittenNumber(token)) return false;
  }
  return true;
}

function isWrittenNumber(token: string): boolean {
  if (/^-?\d{1,15}$/.test(token)) return token !== '-0' && !/^-?0\d/.test(token);
  const value = Number(token);
  return Number.isFinite(value) && plainDecimal(String(value)) === token;
}

/** `1.5e-7` as `0.00000015`, `1e+21` with its zeros: how `numeric` prints what it was given in this form. */
function plainDecimal(text: string): string {
  const match = /^(-?)(\d)(?:\.(\d+))?e([+-]\d+)$/.exec(text);
  if (match === null) return text;
  const [, sign = '', first = '', rest = '', exponent = '0'] = match;
  const digits = first + rest;
  const point = 1 + Number(exponent);
  if (point <= 0) return `${sign}0.${'0'.repeat(-point)}${digits}`;
  if (point >= digits.length) return `${sign}${digits}${'0'.repeat(point - digits.length)}`;
  return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`;
}
