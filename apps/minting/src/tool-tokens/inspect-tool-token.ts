/** Checks a tool token for whoever may introspect it (RFC 7662): signature and times here, its lease's life elsewhere. */
import { MayflyError, type AssertionClaims, type bus, type InputOf, type OutputOf } from '@mayfly/contracts';
import { verifyToolToken, type SealingKey, type TokenVerifier, type VerificationKeys } from '@mayfly/tokens';

export interface InspectToolTokenOptions {
  readonly assertions: Pick<TokenVerifier<AssertionClaims>, 'verify'>;
  readonly sealing: SealingKey;
  readonly keys: VerificationKeys;
  /** `iss` of the tokens. */
  readonly issuer: string;
}

type Verify = typeof bus.minting.verifyToolToken;

export class InspectToolToken {
  constructor(private readonly options: InspectToolTokenOptions) {}

  /**
   * A token that can't be read, is expired, or belongs to another organization is just not valid: nobody learns which (I5).
   * Throws `unauthenticated` for a bad assertion, `policy_denied` for one of another act.
   */
  async inspect({ assertion, token }: InputOf<Verify>): Promise<OutputOf<Verify>> {
    const { assertions, sealing, keys, issuer } = this.options;
    const { act, actor } = await assertions.verify(assertion, { now: new Date() });
    if (act.action !== 'introspect')
      throw new MayflyError('policy_denied', 'the assertion is for another act');
    try {
      // No tolerance: the issuer's own clock decides about its own tokens.
      const claims = await verifyToolToken(keys, await sealing.open(token), {
        now: new Date(),
        issuer,
        clockToleranceSeconds: 0,
      });
      if (claims.organization !== actor.organization) return { valid: false };
      return { valid: true, claims: { ...claims, iss: issuer } };
    } catch (error) {
      if (error instanceof MayflyError && isAboutTheToken(error)) return { valid: false };
      throw error;
    }
  }
}

function isAboutTheToken({ code }: MayflyError): boolean {
  return code === 'unauthenticated' || code === 'invalid_request';
}
