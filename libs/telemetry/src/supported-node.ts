/** Oldest major version of Node that OpenTelemetry's SDK and Mayfly's services run on. */
const oldest = 22;

/**
 * Refuses a Node that is too old, with a sentence instead of the syntax error or missing function that would follow.
 * The lock file brings a newer Node; a skipped optional dependency silently leaves the machine's own.
 */
export function assertSupportedNode(version: string = process.version): void {
  const major = Number.parseInt(version.replace(/^v/, ''), 10);
  if (!(major >= oldest)) {
    throw new Error(
      `Mayfly needs Node ${oldest} or newer, but this is ${version}: run it with node_modules/.bin/node, which "npm ci" installs.`,
    );
  }
}
