/** Everything that a hostile holder of a Postgres lease can do inside the database, as far as we know. */
import type { Attack } from '../attack.ts';
import { advisoryLocks } from './advisory-locks.ts';
import { asTheAdmin } from './as-the-admin.ts';
import { catalogRows } from './catalog-rows.ts';
import { customStatements } from './custom-statements.ts';
import { largeObjects } from './large-objects.ts';
import { objects } from './objects.ts';
import { ownMemberships } from './own-memberships.ts';
import { ownRole } from './own-role.ts';
import { refusals } from './refused.ts';
import { sessions } from './sessions.ts';

export const table: readonly Attack[] = [
  ...ownRole,
  ...ownMemberships,
  ...largeObjects,
  ...advisoryLocks,
  ...catalogRows,
  ...asTheAdmin,
  ...sessions,
  ...objects,
  ...customStatements,
  ...refusals,
];
