/** Minting does not tell of its intents. */
import { patch } from './patch.js';

patch('/apps/minting/dist/issue/issue-lease.js', 'await this.#recordIntent(grant, traceparent);', '');
