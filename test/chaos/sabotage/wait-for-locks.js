/** Ends wait for the lock of the role's row, which a session of the lease may hold, and cut sessions only when they have it. */
import { patch } from './patch.js';

patch(
  '/apps/minting/dist/providers/postgres/login-role.js',
  "'SET LOCAL synchronous_commit = off',",
  "'SET LOCAL synchronous_commit = off', 'SET LOCAL lock_timeout = 0',",
);
