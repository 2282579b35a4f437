/** Intents as they come from the event log: what is never activated is found by them. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Controller } from '@nestjs/common';
import { Payload } from '@nestjs/microservices';
import { Consumes, type Delivery } from '@mayfly/messaging';
import { Intents } from './intents.ts';

/**
 * Intents are not urgent, and most are activated within milliseconds. Waiting a little lets the activation write the
 * row: then the intent costs a look at an index instead of a row and its replacement. Milliseconds.
 */
const headStartMs = 250;

@Controller()
export class IntentsHandler {
  constructor(private readonly intents: Intents) {}

  @Consumes('revocation-intents')
  async record(@Payload() deliveries: Delivery[]): Promise<void> {
    const newest = Math.max(...deliveries.map(({ event }) => Date.parse(event.time)));
    // None for what has waited already: a backlog is worked off at full speed.
    const wait = Math.min(headStartMs, newest + headStartMs - Date.now());
    if (wait > 0) await sleep(wait);
    await this.intents.record(deliveries);
  }
}
