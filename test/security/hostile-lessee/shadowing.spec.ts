/**
 * Nothing that a lease, or anybody else, puts on the admin's search path runs as the admin. Which names are shadowed comes from the SQL
 * that the provider sends, so SQL that is written tomorrow is covered too.
 */
import { beforeAll, describe, expect, it } from '@jest/globals';
import { runningServers } from './servers.ts';
import { walkAmongShadows, type Walk } from './shadow-walk.ts';
import { adminKinds } from './upstream.ts';

const timeoutMs = 240_000;

const walks = runningServers().flatMap((server) => adminKinds.map((adminKind) => ({ server, adminKind })));
/** All begin at once, most of their time is waiting. */
const begun = new Map<(typeof walks)[number], Promise<Walk>>();

function begin(): void {
  if (begun.size > 0) return;
  for (const walk of walks) {
    const walking = walkAmongShadows(walk.server, walk.adminKind);
    walking.catch(() => undefined);
    begun.set(walk, walking);
  }
}

for (const each of walks) {
  const { server, adminKind } = each;
  const admin = adminKind === 'superuser' ? 'a superuser' : 'a CREATEROLE role';
  describe(`shadowed names, PostgreSQL ${server.major}, the admin is ${admin}`, () => {
    let walk: Walk;
    beforeAll(async () => {
      begin();
      const walking = begun.get(each);
      if (walking === undefined) throw new Error('it has not begun');
      walk = await walking;
    }, timeoutMs);

    it('finds what is sent, and shadows it', () => {
      const some = ['function set_config', 'operator =', 'relation pg_roles', 'type timestamptz'];
      expect([...walk.shadowed]).toEqual(expect.arrayContaining(some));
      expect(walk.missed).toEqual([]);
    });

    it('runs none of them, whatever the role and the database say of the path', () => {
      expect(walk.plain).toEqual({ hits: [], failures: [] });
    });

    it('runs none of them after statements of the customer that set a path', () => {
      expect(walk.afterCustomPath).toEqual({ hits: walk.plain.hits, failures: [] });
    });

    it('takes no path from the URL', () => {
      expect(walk.withPathInUrl).toMatch(/the parameter options is not taken/);
    });

    it('has sent nothing meanwhile that was not shadowed', () => {
      expect(walk.unshadowed).toEqual([]);
    });

    it('would have noticed', () => {
      expect(walk.control.failures).toEqual([
        'the shadow of function now ran',
        'the shadow of operator = ran',
        'the shadow of relation pg_roles ran',
        'the shadow of type text ran',
        'the shadow of operator = ran',
      ]);
      const some = ['function now', 'operator =', 'relation pg_roles', 'type text'];
      expect(walk.control.hits).toEqual(expect.arrayContaining(some));
    });
  });
}
