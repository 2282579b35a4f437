/**
 * What of a failed connection may be logged. Messages of the network name hosts and addresses, those of the server users and
 * databases: all of them parts of a URL that holds a password, and a piece of a password where the URL was written wrongly.
 */
const telling = ['code', 'syscall', 'severity'] as const;

/** What network, TLS, driver and server put on their errors. */
export interface ErrorFields {
  readonly code?: string;
  readonly syscall?: string;
  readonly severity?: string;
  readonly message: string;
}

/** Not by `instanceof`: the errors of Node's own network code may be of another realm. */
export function errorFields(error: unknown): ErrorFields {
  const given = (typeof error === 'object' && error !== null ? error : {}) as Record<string, unknown>;
  const texts = [...telling, 'message'].flatMap((name) =>
    typeof given[name] === 'string' ? [[name, given[name]] as const] : [],
  );
  return { message: '', ...Object.fromEntries(texts) };
}

/** The failure by its codes alone. What has no code was made by the driver, whose messages are fixed texts. */
export function loggedCause(error: unknown): Error {
  const { message, ...codes } = errorFields(error);
  const summary = [codes.syscall, codes.code].filter((part) => part !== undefined).join(' ');
  return Object.assign(new Error(codes.code === undefined ? message : summary), codes);
}
