/** What must never pass: a contract (by this project's tag) that imports an adapter. */
import { BusClient } from '@mayfly/messaging';

export const forbidden = BusClient;
