/** Connection strings hold passwords: these functions make them, and make them fit to be printed. */

const secretParameters = ['password', 'sslpassword', 'sslkey'];

/** The connection string with its password replaced. A string that can't be parsed is not shown at all. */
export function redactConnectionString(connectionString: string): string {
  if (!URL.canParse(connectionString)) return '[unreadable connection string]';
  const url = new URL(connectionString);
  if (url.password !== '') url.password = 'redacted';
  for (const name of secretParameters) {
    if (url.searchParams.has(name)) url.searchParams.set(name, 'redacted');
  }
  return url.href;
}

/** The same server as `connectionString`, but as another role and in another database. */
export function connectionStringFor(
  connectionString: string,
  as: { readonly role: string; readonly password: string; readonly database: string },
): string {
  const url = new URL(connectionString);
  url.username = encodeURIComponent(as.role);
  url.password = encodeURIComponent(as.password);
  url.pathname = `/${encodeURIComponent(as.database)}`;
  for (const name of ['user', 'dbname', ...secretParameters]) url.searchParams.delete(name);
  return url.href;
}

/** The same server and role as `connectionString`, but another database. */
export function inDatabase(connectionString: string, database: string): string {
  const url = new URL(connectionString);
  url.pathname = `/${encodeURIComponent(database)}`;
  return url.href;
}
