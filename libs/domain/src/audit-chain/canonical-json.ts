/**
 * One text for one JSON value, whatever order its keys come in (RFC 8785 in spirit: keys sorted by UTF-16 code units, numbers and
 * strings as ECMAScript writes them). A value that went through `jsonb` gives the same text as before.
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const fields = Object.entries(value)
      .filter(([, child]) => child !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, child]) => `${JSON.stringify(key)}:${canonicalJson(child)}`);
    return `{${fields.join(',')}}`;
  }
  // -0 is 0 in JSON.stringify and in jsonb alike.
  return JSON.stringify(value);
}
