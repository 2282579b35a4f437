/** What every command has at hand: input and output, and sessions opened as the global options say. */
import type { Command } from 'commander';
import { advising } from './advice.ts';
import { GatewayClient } from './api/client.ts';
import { findGatewayUrl, mustBeMeantFor } from './api/gateway-url.ts';
import { Session } from './api/session.ts';
import { traceparentOf } from './api/trace.ts';
import { removeLeftSecrets } from './execution/secret-files.ts';
import { findIdentity, type IdentityOptions } from './identity/find-identity.ts';
import { usualIdentity, type IdentifiedCommand } from './identity/usual-identity.ts';
import type { Io } from './io.ts';
import { Printer } from './output/printer.ts';

export interface GlobalOptions extends IdentityOptions {
  readonly url?: string | undefined;
}

export class CommandContext {
  readonly printer: Printer;
  /** What the process will end with unless something throws. */
  exitStatus = 0;

  /** Everything outside but what prints, which is the printer's alone. */
  readonly io: Omit<Io, 'stdout' | 'stderr' | 'ask'>;

  constructor(
    io: Io,
    /** What stands after `--` on the command line of `exec`. */
    readonly childCommand: readonly string[],
  ) {
    this.io = io;
    this.printer = new Printer(io);
  }

  /** Removes what killed runs have left, and opens a session as the command's usual identity, or the one that the global options name. Throws CommandFailure. */
  async openSession(
    command: IdentifiedCommand,
    parsed: Command,
    signal?: AbortSignal,
    heartbeatSeconds?: number,
  ): Promise<Session> {
    await removeLeftSecrets(this.io.env, this.printer);
    const options = parsed.optsWithGlobals<GlobalOptions>();
    const identity = await findIdentity(this.io, options, usualIdentity[command]);
    const gateway = findGatewayUrl(this.io, options.url);
    mustBeMeantFor(gateway, identity);
    const { url, isExposed } = gateway;
    if (isExposed) this.printer.note(`${url} is not https: the identity crosses the network in the clear.`);
    const client = new GatewayClient({
      url,
      fetch: this.io.fetch,
      traceparent: traceparentOf(this.io.env),
    });
    return advising(Session.open(client, identity.token, signal, heartbeatSeconds), {
      dependency_unavailable: 'Try again in a moment; nothing was asked for yet.',
    });
  }
}
