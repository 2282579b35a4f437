import { describe, expect, it } from '@jest/globals';
import { bus, http } from '../index.ts';

/** What ends something over HTTP, keeps it from beginning, or keeps a session alive, and what answers it on the bus. */
const ending = [
  [http.oauth.revokeToken, bus.policy.endSession],
  [http.oauth.heartbeat, bus.policy.heartbeat],
  [http.leases.deleteLease, bus.revocation.endLease],
  [http.administration.revoke, bus.revocation.revoke],
  [http.administration.addBlock, bus.policy.addBlock],
  [http.administration.closeSession, bus.policy.closeSession],
] as const;

describe('operations of the HTTP API', () => {
  it.each(ending.map((pair) => [pair[0].name, ...pair] as const))(
    '%s, which ends something or keeps it alive, has places of its own at the edge and in the service',
    (_, asked, answered) => {
      expect([asked.http.vital, answered.bus.vital]).toEqual([true, true]);
    },
  );
});
