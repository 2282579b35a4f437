/**
 * Scripts run on the Node that the lock file brings. An install that skipped it would silently leave an older one, so the
 * scripts look before they do anything.
 */
const oldestMajor = 22;

export function assertNodeOfTheLockFile(): void {
  const major = Number(process.versions.node.split('.')[0]);
  if (major >= oldestMajor) return;
  console.error(
    `This runs on Node ${process.versions.node}, but needs ${oldestMajor} or newer. Run it through npm (npm start, npm run demo): "npm ci" installs the right Node beside it.`,
  );
  process.exit(1);
}
