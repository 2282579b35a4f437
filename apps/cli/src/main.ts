#!/usr/bin/env node
/** The `mayfly` command. */
import { outliveReader, processIo } from './io.ts';
import { run } from './run.ts';

outliveReader(process.stdout);
outliveReader(process.stderr);

process.exitCode = await run(process.argv.slice(2), processIo());
