/** The documentation is run: what it shows as configuration is checked, and what it shows as a command is called. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Command } from 'commander';
import { parse, stringify } from 'yaml';
import { CommandContext } from './command-context.ts';
import { CommandLine, identityToken } from './fixtures/command-line.ts';
import { blocksOf, inlineCommands, pages, root, startedBy, type Started } from './fixtures/documentation.ts';
import { FakeGateway } from './fixtures/gateway.ts';
import { processIo } from './io.ts';
import { buildProgram } from './program.ts';

let gateway: FakeGateway;
beforeAll(async () => {
  gateway = await FakeGateway.start();
});
afterAll(() => gateway.stop());

const commandLine = () => {
  const line = new CommandLine({
    MAYFLY_URL: gateway.url,
    MAYFLY_IDENTITY_TOKEN: identityToken(),
    PATH: '/nowhere',
  });
  line.isTerminal = true;
  // The day on which the examples with a date were written.
  line.now = new Date('2026-11-20T12:00:00Z');
  line.typed = 'yes';
  return line;
};

describe('YAML', () => {
  const blocks = pages().flatMap((page) => blocksOf(page, 'yaml', 'yml'));

  it('is found', () => {
    expect(blocks.map(({ where }) => where.split(':')[0])).toEqual(
      expect.arrayContaining(['README.md', 'docs/configuration.md']),
    );
  });

  /** A part of a document stands in the development configuration, in the place of what has the same name there. */
  function wholeDocument(text: string): string {
    const part = parse(text) as Record<string, unknown>;
    if ('organizations' in part) return text;
    const base = parse(
      readFileSync(join(root, 'deploy/development/mayfly.yaml'), 'utf8').replaceAll(
        '${MAYFLY_DATA}',
        '/data',
      ),
    ) as Record<string, unknown>;
    for (const [key, value] of Object.entries(part)) {
      const [own, others] = [value, base[key] ?? []] as { name: string }[][];
      base[key] = Array.isArray(value)
        ? [...(others ?? []).filter(({ name }) => !own?.some((one) => one.name === name)), ...(own ?? [])]
        : value;
    }
    return stringify(base);
  }

  it.each(blocks)('passes `mayfly config check`: $where', async ({ text }) => {
    const line = commandLine();
    line.write('mayfly.yaml', wholeDocument(text));
    expect(await line.run('config', 'check', 'mayfly.yaml')).toEqual({
      status: 0,
      stdout: 'mayfly.yaml is right\n',
      stderr: '',
    });
  });
});

describe('a command', () => {
  const program = buildProgram(new CommandContext(processIo(), []));
  const helps = commandsBelow(program).map((command) => ({
    where: `help of ${nameOf(command)}`,
    text: examplesOf(command),
  }));
  const scripts = [...pages().flatMap((page) => blocksOf(page, 'sh', 'bash', 'console')), ...helps];
  const calls = scripts.flatMap((script) =>
    startedBy(script).map((started) => ({
      where: script.where,
      ...started,
      shown: [started.program, ...started.args].join(' '),
    })),
  );
  const of = (name: string) => calls.filter(({ program: called }) => called === name);

  it('is found in README, docs and every help text', () => {
    expect(of('mayfly').length).toBeGreaterThan(60);
    for (const { where, text } of helps) expect(`${where}: ${text}`).toContain('mayfly');
  });

  /** Without the URL it looks for a development stack, or for the variable that has it. */
  const needsMore = /^mayfly audit verify(?!.*--database-url)/;

  it.each(of('mayfly'))('is one that `mayfly` takes: $shown ($where)', async ({ args, shown }) => {
    const line = commandLine();
    for (const file of ['mayfly.yaml', 'deploy/mayfly.yaml'])
      line.write(file, 'organizations: [{ name: acme, trust_domain: acme.example }]\n');
    const { status, stderr } = await line.run(...args);
    if (needsMore.test(shown)) return;
    // 2: the command line is wrong, or what it makes of it does not fit the contract of the gateway.
    expect({ wrong: status === 2, stderr }).toEqual({ wrong: false, stderr });
  });

  it.each(of('mayfly-policy'))('is one that `mayfly-policy` takes: $shown ($where)', ({ shown }) => {
    expect(shown).toMatch(/^mayfly-policy recover --config \S+( --end-leases)?( --lock-me-out)?$/);
  });

  it.each(of('npm'))('is a script of package.json: $shown ($where)', ({ args }) => {
    const { scripts: known } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    const [verb = '', script = ''] = args;
    if (['ci', 'install', 'exec'].includes(verb)) return;
    expect(Object.keys(known)).toContain(verb === 'run' || verb === 'run-script' ? script : verb);
  });

  it.each(of('docker'))('names a compose file that is there: $shown ($where)', ({ args }: Started) => {
    const file = args[args.indexOf('-f') + 1] ?? '';
    expect(args.includes('-f') ? existsSync(join(root, file)) : true).toBe(true);
  });

  it.each(pages().flatMap(inlineCommands))(
    'in running text has options that there are: mayfly $text ($where)',
    ({ text }) => {
      const words = text.split(/\s+/);
      let command = program;
      while (words[0] !== undefined) {
        const next = command.commands.find((one) => one.name() === words[0]);
        if (next === undefined) break;
        command = next;
        words.shift();
      }
      expect(command).not.toBe(program);
      const own = words.slice(0, words.includes('--') ? words.indexOf('--') : undefined);
      const known = [command, program].flatMap((one) =>
        one.options.flatMap(({ long, short }) => [long, short]),
      );
      for (const word of own.filter((one) => one.startsWith('-')))
        expect(known).toContain(word.replace(/=.*/, ''));
    },
  );
});

function commandsBelow(command: Command): Command[] {
  return command.commands.flatMap((one) => [one, ...commandsBelow(one)]);
}

function nameOf(command: Command): string {
  return command.parent === null ? command.name() : `${nameOf(command.parent)} ${command.name()}`;
}

/** The paragraph after `Examples:` of a help text. */
function examplesOf(command: Command): string {
  let help = '';
  command.configureOutput({ writeOut: (text) => (help += text) });
  command.outputHelp();
  return help.split('\nExamples:\n')[1]?.split('\n\n')[0] ?? '';
}
