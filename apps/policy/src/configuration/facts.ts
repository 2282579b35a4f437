/** What a block of the document says, as facts that can be compared one by one. Defaults are filled in; no secret is in them, references are. */
import type {
  ClaimPath,
  ClaimSource,
  CredentialConfig,
  IntegrationConfig,
  OrganizationConfig,
  TrustRule,
} from '@mayfly/configuration';

/** By the keys of the document, in a form that compares and prints. */
export type Facts = Readonly<Record<string, unknown>>;

export function organizationFacts({ trustDomain, secretReferences }: OrganizationConfig): Facts {
  return { trust_domain: trustDomain, secret_references: secretReferences };
}

export function trustFacts(rule: TrustRule): Facts {
  return {
    as: rule.as,
    issuer: rule.issuer,
    audience: rule.audience,
    jwks: 'url' in rule.jwks ? rule.jwks.url : `file:${rule.jwks.file}`,
    require: rule.require,
    algorithms: rule.algorithms,
    session_ttl: `${rule.sessionTtlSeconds}s`,
    max_identity_age: `${rule.maxIdentityAgeSeconds}s`,
    max_sessions_per_identity: rule.maxSessionsPerIdentity,
    require_recipient_key: rule.requireRecipientKey,
    user: rule.user === undefined ? undefined : sourceText(rule.user),
    ...(rule.as === 'person'
      ? {
          'person_roles.claim': rule.personRoles && pathText(rule.personRoles.claim),
          'person_roles.values': rule.personRoles?.values,
        }
      : {
          'agent.orchestration': sourceText(rule.agent.orchestration),
          'agent.task': sourceText(rule.agent.task),
          'agent.instance': sourceText(rule.agent.instance),
          role:
            rule.role === undefined
              ? undefined
              : 'value' in rule.role
                ? rule.role.value
                : { claim: pathText(rule.role.claim), allowed: rule.role.allowed },
        }),
  };
}

export function integrationFacts({ provider, settings }: IntegrationConfig): Facts {
  return { provider, ...settings };
}

export function credentialFacts(credential: CredentialConfig): Facts {
  const { ttl, limits, renewal, settings } = credential;
  return {
    roles: credential.roles,
    scope: credential.scope,
    'ttl.default': `${ttl.defaultSeconds}s`,
    'ttl.max': `${ttl.maxSeconds}s`,
    'limits.per_session': limits.perSession,
    'limits.concurrent': limits.concurrent,
    renewal,
    approval: credential.approval,
    description: credential.description,
    ...settings,
  };
}

function sourceText(source: ClaimSource): string {
  return 'value' in source ? source.value : `claim ${pathText(source.claim)}`;
}

function pathText(path: ClaimPath): string {
  return typeof path === 'string' ? path : JSON.stringify(path);
}
