/**
 * Runs the tests: `npm test`, or `node test/run.js <jest arguments>`. Its last line is `N passed, N failed`; it fails
 * when anything failed, a suite could not run, or nothing ran.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const NEEDED_NODE = 22;

function main() {
  if (Number.parseInt(process.versions.node, 10) < NEEDED_NODE) {
    process.stderr.write(
      `The tests need Node ${NEEDED_NODE} or newer, this is ${process.versions.node}: run them with npm test, which uses the one that npm ci installs.\n`,
    );
    return finish({ passed: 0, failed: 1 });
  }
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-test-results-'));
  try {
    const outputFile = join(folder, 'results.json');
    const status = runJest(outputFile);
    return finish(withExitStatus(countResults(outputFile), status));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function runJest(outputFile) {
  const root = dirname(import.meta.dirname);
  // Not exported by the package, so found from its manifest.
  const jest = join(dirname(createRequire(import.meta.url).resolve('jest/package.json')), 'bin', 'jest.js');
  const nodeOptions = [
    process.env.NODE_OPTIONS,
    '--experimental-vm-modules',
    '--disable-warning=ExperimentalWarning',
  ];
  const { status } = spawnSync(
    process.execPath,
    // In CI a handle that a failed test left open must not eat the whole run.
    [
      jest,
      '--json',
      `--outputFile=${outputFile}`,
      ...(process.env.CI ? ['--forceExit'] : []),
      ...process.argv.slice(2),
    ],
    {
      cwd: root,
      env: { ...process.env, NODE_OPTIONS: nodeOptions.filter(Boolean).join(' ') },
      // Jest's report goes to standard error; with --json it also prints the results to standard output, unless
      // they go to a file.
      stdio: ['inherit', 'inherit', 'inherit'],
    },
  );
  return status;
}

/** A suite that could not run has no tests, so it counts as one failure. */
function countResults(outputFile) {
  let results;
  try {
    results = JSON.parse(readFileSync(outputFile, 'utf8'));
  } catch {
    return { passed: 0, failed: 1 };
  }
  const broken = results.testResults.filter(
    ({ status, assertionResults }) =>
      status === 'failed' && !assertionResults.some((assertion) => assertion.status === 'failed'),
  );
  return { passed: results.numPassedTests, failed: results.numFailedTests + broken.length };
}

/** Jest knows failures that no test has (a leftover global teardown, no tests found): its status goes before the count. */
function withExitStatus({ passed, failed }, status) {
  return { passed, failed: failed === 0 && status !== 0 ? 1 : failed };
}

function finish({ passed, failed }) {
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
}

main();
