/** The OpenAPI page as the tools of others read it. What they can't read, no client can be made from. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import SwaggerParser from '@apidevtools/swagger-parser';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { httpOperations } from '@mayfly/contracts';
import { openApiDocument } from './openapi.ts';

const run = promisify(execFile);
/** The command of an installed package. */
function commandOf(name: string, file: string): string {
  return join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), file);
}

describe('the OpenAPI page', () => {
  let folder: string;
  let file: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mayfly-openapi-'));
    file = join(folder, 'openapi.json');
    await writeFile(file, JSON.stringify(openApiDocument('https://mayfly.example', '0.0.0')));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('passes the linter of Redocly without an error', async () => {
    // It would tell its makers what it did, and look for a newer version of itself.
    const quiet = { REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true', CI: 'true' };
    const linted = await run(
      process.execPath,
      [commandOf('@redocly/cli', 'bin/cli.js'), 'lint', file, '--format=json', '--extends=recommended'],
      { cwd: folder, env: { ...process.env, NODE_OPTIONS: '', ...quiet } },
    ).catch((error: { stdout: string; stderr: string }) => error);
    const { totals, problems } = JSON.parse(linted.stdout) as {
      totals: { errors: number };
      problems: { ruleId: string; message: string }[];
    };
    expect({ errors: totals.errors, problems }).toEqual({ errors: 0, problems: [] });
  }, 60_000);

  it('is valid to swagger-parser, with every reference resolved', async () => {
    const { paths = {} } = await SwaggerParser.validate(file);
    expect(Object.keys(paths).sort()).toEqual(
      [...new Set(httpOperations.map(({ http }) => http.path))].sort(),
    );
  });

  it('gives TypeScript types of every operation', async () => {
    const types = join(folder, 'api.d.ts');
    await run(process.execPath, [commandOf('openapi-typescript', 'bin/cli.js'), file, '--output', types], {
      cwd: folder,
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    const text = await readFile(types, 'utf8');
    for (const { name } of httpOperations) expect(text).toContain(`    ${name}: {`);
  }, 60_000);
});
