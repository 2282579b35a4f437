/** Revocation claims what was never activated, and does nothing about it. */
import { patch } from './patch.js';

patch(
  '/apps/revocation/dist/ends/reconciler.js',
  '\n    reconcile(lease) {',
  '\n    reconcile(lease) { return Promise.resolve();',
);
