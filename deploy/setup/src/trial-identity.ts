/** Step `identity`: a token of the trial issuer, for whoever tries a deployment out. Never for production. */
import { DEVELOPMENT_IDENTITIES, issueIdentityToken, openDevelopmentIssuer } from '@mayfly/stack';

/** Signs a token of ten minutes, making the issuer's key in `folder` on first use. @throws Error for an unknown name */
export async function trialIdentity(folder: string, name: string | undefined): Promise<string> {
  // The issuer is opened in any case: without a name this just publishes its keys.
  const issuer = await openDevelopmentIssuer(folder);
  const known = Object.entries(DEVELOPMENT_IDENTITIES).find(([identity]) => identity === name);
  if (known === undefined) {
    throw new Error(`name one of ${Object.keys(DEVELOPMENT_IDENTITIES).join(', ')}.`);
  }
  return issueIdentityToken(issuer, known[1]);
}
