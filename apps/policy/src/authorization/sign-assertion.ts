/** Signs who asks for what, for the service that will answer. */
import type { Act, AssertionClaims } from '@mayfly/contracts';
import type { TokenSigner } from '@mayfly/tokens';
import { v7 as uuidv7 } from 'uuid';
import { actorOf, type Session } from '../sessions/session.ts';
import type { Audience } from './authorize-act.ts';

/** An assertion of 30 seconds. `audience`: the services that may accept it; revocation unless told. */
export function signAssertion(
  signer: TokenSigner<AssertionClaims>,
  session: Omit<Session, 'expiresAt'>,
  act: Act,
  options: { audience?: readonly Audience[]; now?: Date } = {},
): Promise<string> {
  const { audience = ['mayfly-revocation'], now = new Date() } = options;
  const claims: AssertionClaims = {
    jti: uuidv7(),
    actor: actorOf(session),
    kind: session.kind,
    person_roles: [...session.personRoles],
    act,
  };
  return signer.sign(claims, { now, audience });
}
