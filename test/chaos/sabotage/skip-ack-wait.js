/** Minting tells of its intents, and does not wait until the stream has them. */
import { patch } from './patch.js';

patch(
  '/apps/minting/dist/issue/issue-lease.js',
  'await this.#recordIntent(grant, traceparent);',
  'this.#recordIntent(grant, traceparent).catch(() => undefined);',
);
