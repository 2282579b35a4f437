/** All users of the bus share one account, with the same permissions by subject: a responder then writes wherever an asker wants it to. */
import { patch } from './patch.js';

patch(
  '/libs/messaging/dist/accounts-config.js',
  "return ['accounts {', ...busAccounts().flatMap((account) => block(account, publicNkeys)), '}'].join('\\n');",
  `return ['authorization { users: [', ...busAccounts().flatMap(({ user }) =>
    user === undefined ? [] : [userEntry(user, publicNkeys, (subject) => subject)]), '] }'].join('\\n');`,
);
