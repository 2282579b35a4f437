/**
 * The boundary rule skips silently when Nx's project graph is missing. This lints a file that breaks the rule, with the
 * workspace's own configuration, and fails unless the rule speaks.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const options = ['--no-ignore', '--format', 'json', 'test/lint-canary/forbidden-import.ts'];
const lint = spawnSync('eslint', options, { cwd: root, encoding: 'utf8' });
const found = JSON.parse(lint.stdout).flatMap((file) => file.messages.map(({ ruleId }) => ruleId));
if (!found.includes('@nx/enforce-module-boundaries')) {
  process.stderr.write(`A forbidden import passed the lint: the boundary rule is asleep.\n${lint.stderr}`);
  process.exitCode = 1;
}
