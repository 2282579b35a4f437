/**
 * Text from elsewhere made visible: what steers a terminal, changes the order of what is read, or is not seen at all becomes an escape
 * as JSON writes it. Names, reasons and descriptions come from whoever could make the gateway, an upstream or a repository say them.
 */

/**
 * Controls (C0, DEL, C1), whatever Unicode formats text with (bidirectional controls, zero-width characters, tags), line and paragraph
 * separators, halves of surrogate pairs, and what is not drawn (Unicode: Default_Ignorable_Code_Point).
 */
const unseen = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Default_Ignorable_Code_Point}]/gu;
const short = new Map([
  ['\n', String.raw`\n`],
  ['\r', String.raw`\r`],
  ['\t', String.raw`\t`],
]);

/** On one line: line ends and tabs are escaped, too. */
export function visible(text: string): string {
  return text.replace(unseen, (character) => short.get(character) ?? escapesOf(character));
}

/** Keeps line ends, of text that is made of lines. */
export function visibleLines(text: string): string {
  return text.split('\n').map(visible).join('\n');
}

/** JSON that means the same: outside of strings it has line ends alone, and inside of them none (RFC 8259 §7). */
export function visibleJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(unseen, (character) =>
    character === '\n' ? character : escapesOf(character),
  );
}

/** Each half of a surrogate pair by itself, as JSON wants it. */
function escapesOf(character: string): string {
  return [...Array(character.length).keys()]
    .map((index) => `\\u${character.charCodeAt(index).toString(16).padStart(4, '0')}`)
    .join('');
}
