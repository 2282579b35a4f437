/** SECURITY.md names the test of each promise: all of them must exist, and none of `test/security/` may go unnamed. */
import { describe, expect, it } from '@jest/globals';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

const root = join(import.meta.dirname, '..', '..', '..');
const text = readFileSync(join(root, 'SECURITY.md'), 'utf8');

function specsBelow(...folder: string[]): string[] {
  return readdirSync(join(root, ...folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.spec.ts') && !/(?:^|\/)(?:node_modules|dist)\//.test(path))
    .map((path) => basename(path));
}

const existing = new Set(['apps', 'deploy', 'libs', 'test'].flatMap((folder) => specsBelow(folder)));
const named = [...text.matchAll(/`([^`\s]*\.spec\.ts)`/g)].map(([, path = '']) => basename(path));

describe('SECURITY.md', () => {
  it('names tests that exist', () => {
    expect(named.length).toBeGreaterThan(50);
    expect(named.filter((name) => !existing.has(name))).toEqual([]);
  });

  it('names every test of test/security', () => {
    expect(specsBelow('test', 'security').filter((name) => !named.includes(name))).toEqual([]);
  });

  it.each(Array.from({ length: 12 }, (_, index) => `I${index + 1}`))('names a test of %s', (promise) => {
    expect(text).toMatch(new RegExp(`^\\| ${promise} .*spec\\.ts`, 'm'));
  });

  it('names folders and files of test/ that exist', () => {
    const paths = [...text.matchAll(/`(test\/[^`\s]+)`/g)].map(([, path = '']) => path);
    for (const path of paths) expect(() => readdirOrRead(path)).not.toThrow();
  });
});

function readdirOrRead(path: string): unknown {
  return path.endsWith('/') ? readdirSync(join(root, path)) : readFileSync(join(root, path));
}
