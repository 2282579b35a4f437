/** The command line: global options, and every command with its own file under `commands/`. */
import { Command, Option } from 'commander';
import type { CommandContext } from './command-context.ts';
import { registerApply } from './commands/apply.ts';
import { registerAudit } from './commands/audit.ts';
import { registerAuditVerify } from './commands/audit-verify.ts';
import { registerBlock, registerBlocks, registerUnblock } from './commands/block.ts';
import { registerConfigCheck } from './commands/config-check.ts';
import { registerConfigDiff } from './commands/config-diff.ts';
import { registerConfigGet } from './commands/config-get.ts';
import { registerConfigHistory } from './commands/config-history.ts';
import { registerConfigRollback } from './commands/config-rollback.ts';
import { registerCredentials } from './commands/credentials.ts';
import { registerExec } from './commands/exec.ts';
import { registerGet } from './commands/get.ts';
import { registerLeases } from './commands/leases.ts';
import { registerRevocations } from './commands/revocations.ts';
import { registerRenew } from './commands/renew.ts';
import { registerRevoke } from './commands/revoke.ts';
import { registerSessions } from './commands/sessions.ts';
import { registerVersion } from './commands/version.ts';
import { defaultGatewayUrl } from './api/gateway-url.ts';
import { developmentIdentities } from './identity/usual-identity.ts';
import { version } from './version.ts';

export function buildProgram(context: CommandContext): Command {
  const { printer } = context;
  const program = new Command('mayfly')
    .description('Credentials for agents: asked for by name, scoped, sealed, dead within minutes.')
    .version(`mayfly ${version}`)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => {
        printer.lines(text);
      },
      writeErr: (text) => {
        printer.usage(text);
      },
      outputError: (text, write) => {
        write(`mayfly: ${text.replace(/^error: /, '')}`);
      },
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .showHelpAfterError('  `mayfly help <command>` shows examples.')
    .helpCommand('help [command]', 'show how a command is used, with examples')
    .option(
      '--url <url>',
      `the gateway (MAYFLY_URL; default: the running development stack, else ${defaultGatewayUrl})`,
    )
    .option(
      '--identity-token-file <path>',
      'a file with the JWT that says who you are (MAYFLY_IDENTITY_TOKEN_FILE)',
    )
    .addOption(
      new Option('--as <identity>', 'which identity of the development stack to use').choices(
        developmentIdentities,
      ),
    )
    .addHelpText('after', exitStatuses);
  registerGet(program, context);
  registerExec(program, context);
  registerCredentials(program, context);
  registerLeases(program, context);
  registerRenew(program, context);
  registerRevoke(program, context);
  registerRevocations(program, context);
  registerBlock(program, context);
  registerUnblock(program, context);
  registerBlocks(program, context);
  registerSessions(program, context);
  registerAuditVerify(registerAudit(program, context), context);
  registerApply(program, context);
  const config = program
    .command('config')
    .description('check the configuration document, look at its versions, go back to one')
    .addHelpText(
      'after',
      '\nExamples:\n  mayfly config check mayfly.yaml\n  mayfly config get > mayfly.yaml\n  mayfly config diff 3',
    );
  registerConfigCheck(config, context);
  registerConfigGet(config, context);
  registerConfigHistory(config, context);
  registerConfigDiff(config, context);
  registerConfigRollback(config, context);
  registerVersion(program, context);
  return program;
}

const exitStatuses = `
Who you are comes from --identity-token-file, --as, MAYFLY_IDENTITY_TOKEN, MAYFLY_IDENTITY_TOKEN_FILE, or the files of
the development stack (MAYFLY_DATA_DIR, else the nearest .mayfly/).

Exit statuses:
  0 done                      14 a limit is reached        19 not found
  2 wrong arguments           15 the lease has ended       20 conflict
  10 not authenticated        16 the upstream refused      21 too many requests
  11 denied by policy         17 the upstream is down      69 the gateway can't be reached
  12 scope wider than allowed 18 a part of Mayfly is down  70 internal error
  13 TTL longer than allowed  exec: the command's own status, 128+n for signal n
  revoke --wait: 30 ended, some work on until a time told; 31 not ended in time; 32 some can't be ended so far

Examples:
  mayfly credentials
  mayfly exec orders-db/readonly -- psql -c 'select count(*) from orders'
  eval "$(mayfly get orders-db/readonly --ttl 15m)"
`;
