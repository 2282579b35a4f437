/**
 * YAML to plain values that remember where they stood. Stricter than YAML: one document, string keys, each key once, no
 * aliases, no tags, bounded depth; what the parser says is replaced by sentences of our own, because it quotes the
 * document, which may hold a secret where none belongs.
 */
import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, Scalar } from 'yaml';
import type { ErrorCode, Node, YAMLMap } from 'yaml';
import { excessOf, type Excess } from './bounds.ts';
import { Problems, showKey, type Path, type Position } from './problems.ts';
import { unseenInDocument } from './unseen.ts';

/** The same as `applyConfig` of the contracts allows, so that a document stays below the message size of the bus. */
export const maxDocumentBytes = 786_432;
const maxDepth = 16;

export type PlainValue = string | number | boolean | null | PlainValue[] | { [key: string]: PlainValue };

export interface YamlSource {
  readonly value: PlainValue;
  readonly problems: Problems;
  /** Where in the document the character at `offset` of a text value stands; exact for block literals (`|`), else where the value begins. */
  positionInText(path: Path, offset: number): Position | undefined;
  /** Whether line breaks of a text value become spaces, so that a comment in it would go on to its end. */
  foldsLines(path: Path): boolean;
}

const sentences: Partial<Record<ErrorCode, string>> = {
  ALIAS_PROPS: 'an alias must stand alone; write the value out instead',
  BAD_INDENT: 'the indentation is wrong, or a bracket is not closed',
  BLOCK_AS_IMPLICIT_KEY: 'two keys on one line; put the second on a line of its own, or quote the value',
  BLOCK_IN_FLOW: 'a block value stands inside brackets; close the bracket or write the value in brackets too',
  MISSING_CHAR: 'a colon, a comma, a bracket or a closing quote is missing',
  MULTILINE_IMPLICIT_KEY: 'a key must be followed by a colon on the same line',
  MULTIPLE_DOCS: 'the file holds a second document; remove the "---" line and what follows, or merge it',
  NON_STRING_KEY: 'a key must be plain text',
  RESOURCE_EXHAUSTION: 'the document is nested too deeply',
  TAB_AS_INDENT: 'a tab is used for indentation; use spaces',
};

const excessSentences: Record<Excess, string> = {
  depth: 'the document is nested too deeply',
  parts: 'the document has too many lines, entries and signs; split the organization or shorten it',
  errors: 'this is not YAML; check quotes, colons and indentation',
};

/** Never throws. What can't be read at all comes back as the value `null` with problems. */
export function readYaml(document: string): YamlSource {
  const lines = new LineCounter();
  const position = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const unreadable = (message: string, where?: Position): YamlSource => {
    const problems = new Problems(() => undefined);
    problems.add([], message, where);
    return { value: null, problems, positionInText: () => undefined, foldsLines: () => false };
  };

  if (Buffer.byteLength(document) > maxDocumentBytes) {
    return unreadable(
      `the document is larger than ${maxDocumentBytes / 1024} KiB; split the organization or shorten it`,
    );
  }
  const unseen = unseenInDocument(document);
  if (unseen) {
    return unreadable(unseen.message, placeAt(document, unseen.offset));
  }

  const excessive = excessOf(document);
  if (excessive) {
    return unreadable(excessSentences[excessive.excess], placeAt(document, excessive.offset));
  }

  let root: Node | null;
  const problems = new Problems((path) => {
    const offset = offsetOf(root, path);
    return offset === undefined ? undefined : position(offset);
  });
  try {
    const parsed = parseDocument(document, {
      lineCounter: lines,
      prettyErrors: false,
      schema: 'core',
      version: '1.2',
      stringKeys: true,
      // Quadratic in the number of keys; `toPlain` refuses what stands twice.
      uniqueKeys: false,
      // 'silent' would also silence that there is a second document.
      logLevel: 'error',
    });
    root = parsed.contents;
    for (const error of parsed.errors) {
      problems.add(
        [],
        sentences[error.code] ?? 'this is not YAML; check quotes, colons and indentation',
        position(error.pos[0]),
      );
    }
  } catch {
    return unreadable('the document is not YAML that can be read; check quotes, brackets and indentation');
  }
  if (problems.any)
    return { value: null, problems, positionInText: () => undefined, foldsLines: () => false };

  const value = toPlain(root, [], { problems, position });
  const positionInText = (path: Path, offset: number): Position | undefined => {
    const node = nodeAt(root, path);
    if (!isScalar(node) || !node.range) return undefined;
    const start = position(node.range[0]);
    if (node.type !== Scalar.BLOCK_LITERAL || typeof node.value !== 'string') return start;
    const before = node.value.slice(0, offset).split('\n');
    const lineStart = lines.lineStarts[start.line + before.length - 1];
    if (lineStart === undefined) return start;
    const indent = /^ */.exec(document.slice(lineStart, lineStart + 256))?.[0].length ?? 0;
    const ownIndent = /^ */.exec(node.value.split('\n')[before.length - 1] ?? '')?.[0].length ?? 0;
    return {
      line: start.line + before.length,
      column: indent - ownIndent + (before.at(-1)?.length ?? 0) + 1,
    };
  };
  const foldsLines = (path: Path): boolean => {
    const node = nodeAt(root, path);
    if (!isScalar(node) || !node.range) return false;
    if (node.type === Scalar.BLOCK_FOLDED || node.type === Scalar.PLAIN) return true;
    // Between quotes on one line, as JSON has it, every line break is written out as an escape.
    return node.type !== Scalar.BLOCK_LITERAL && document.slice(node.range[0], node.range[1]).includes('\n');
  };
  return { value, problems, positionInText, foldsLines };
}

function placeAt(document: string, offset: number): Position {
  const before = document.slice(0, offset).split('\n');
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
}

interface Reading {
  readonly problems: Problems;
  position(offset: number): Position;
}

function toPlain(node: unknown, path: Path, reading: Reading): PlainValue {
  const { problems } = reading;
  if (!isNode(node) || problems.full) return null;
  if (path.length > maxDepth) {
    problems.add(path, `nothing may be nested deeper than ${maxDepth} levels`);
    return null;
  }
  if (isAlias(node)) {
    problems.add(path, 'aliases (*name) are not supported; write the value out');
    return null;
  }
  if (node.tag !== undefined) {
    problems.add(path, 'tags (!name) are not supported; remove it');
    return null;
  }
  if (isSeq(node)) return node.items.map((item, index) => toPlain(item, [...path, index], reading));
  if (isMap(node)) {
    const result: Record<string, PlainValue> = {};
    for (const pair of node.items) {
      const key = isScalar(pair.key) && typeof pair.key.value === 'string' ? pair.key.value : undefined;
      if (key === undefined || key === '__proto__' || key === '<<') {
        problems.add(path, 'a key must be plain text, and neither "<<" nor "__proto__"');
      } else if (Object.hasOwn(result, key)) {
        const offset = isScalar(pair.key) ? pair.key.range?.[0] : undefined;
        problems.add(
          [...path, key],
          `${showKey(key)} stands twice; keep one of them`,
          offset === undefined ? undefined : reading.position(offset),
        );
      } else {
        result[key] = toPlain(pair.value, [...path, key], reading);
      }
    }
    return result;
  }
  const scalar = isScalar(node) ? node.value : null;
  return typeof scalar === 'string' || typeof scalar === 'number' || typeof scalar === 'boolean'
    ? scalar
    : null;
}

/** The node at a path, as deep as it exists. */
function nodeAt(root: Node | null, path: Path): Node | null {
  let node: Node | null = root;
  for (const part of path) {
    const next: unknown =
      isMap(node) && typeof part === 'string'
        ? pairOf(node, part)?.value
        : isSeq(node) && typeof part === 'number'
          ? node.items[part]
          : undefined;
    if (!isNode(next)) return node;
    node = next;
  }
  return node;
}

function pairOf(map: YAMLMap, key: string) {
  return map.items.find((pair) => isScalar(pair.key) && pair.key.value === key);
}

/** Where to point a reader to: at a text or number itself, at the key of a list or map, else at what holds the missing thing. */
function offsetOf(root: Node | null, path: Path): number | undefined {
  const node = nodeAt(root, path);
  const last = path.at(-1);
  const parent = path.length > 0 ? nodeAt(root, path.slice(0, -1)) : null;
  if (isMap(parent) && typeof last === 'string' && !(isScalar(node) && node.value !== null)) {
    const key = pairOf(parent, last)?.key;
    if (isScalar(key)) return key.range?.[0];
    // A missing key of a map that is itself a value: the line of that map's own key.
    const grandParent = path.length > 1 ? nodeAt(root, path.slice(0, -2)) : null;
    const parentKey = path.at(-2);
    if (isMap(grandParent) && typeof parentKey === 'string') {
      const own = pairOf(grandParent, parentKey)?.key;
      if (isScalar(own)) return own.range?.[0];
    }
  }
  return node?.range?.[0];
}
