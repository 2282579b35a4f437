/**
 * One text for one JSON value, whatever order its keys come in (RFC 8785 in spirit: keys sorted by UTF-16 code units, numbers and
 * strings as ECMAScript writes them). A value that went through `jsonb` gives the same text as before.
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    // By UTF-16 code units, which is what sort() does.
    const fields = value as Readonly<Record<string, unknown>>;
    let text = '';
    for (const key of Object.keys(fields).sort()) {
      const child = fields[key];
      if (child !== undefined)
        text += `${text === '' ? '' : ','}${JSON.stringify(key)}:${canonicalJson(child)}`;
    }
    return `{${text}}`;
  }
  // -0 is 0 in JSON.stringify and in jsonb alike.
  return JSON.stringify(value);
}
