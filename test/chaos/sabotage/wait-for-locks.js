/** Ends wait for the lock of the role's row, which a session of the lease may hold, and cut sessions only when they have it. */
import { patch } from './patch.js';

const endAccess = '/apps/minting/dist/providers/postgres/end-access.js';

// As long as a statement may take.
patch(endAccess, 'const lockTimeoutMs = 20;', 'const lockTimeoutMs = 3_000;');
// What comes after the lock waits for it.
patch(endAccess, 'failures.push(error);', 'throw error;');
