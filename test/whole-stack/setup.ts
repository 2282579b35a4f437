/** Jest's global setup of the project "whole": one stack for all specs that leave it as they found it. */
import type { DevelopmentStack } from '@mayfly/stack';
import { publishWholeStack, startWholeStack } from '@mayfly/testing/whole-stack';

/** Where the stack is kept for the teardown: both run in Jest's own process. */
export interface WholeStackGlobals {
  mayflyWholeStack?: DevelopmentStack;
}

export default async function setUp(): Promise<void> {
  const stack = await startWholeStack();
  (globalThis as WholeStackGlobals).mayflyWholeStack = stack;
  publishWholeStack(stack);
}
