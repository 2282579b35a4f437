#!/usr/bin/env node
/** The `mayfly` command. */
import { processIo } from './io.ts';
import { run } from './run.ts';

// A reader that has had enough (`mayfly audit | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

process.exitCode = await run(process.argv.slice(2), processIo());
