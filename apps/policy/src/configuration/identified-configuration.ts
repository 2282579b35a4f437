/**
 * A configuration as everything outside of its document sees it: organizations by their ids. A session, a lease or an order of an
 * organization that is gone finds nothing here, also when its name is there again. Pure.
 */
import {
  PolicyEvaluator,
  type Configuration,
  type PolicyDecision,
  type PolicyQuestion,
} from '@mayfly/configuration';
import { organizationNameOf } from '@mayfly/domain';
import type { OrganizationIds } from '../store/organizations.ts';

/** `organization`, wherever it is asked for or answered, is an id; only the configuration of an organization still tells its name. */
export function identified(document: Configuration, ids: OrganizationIds): Configuration {
  const idOf = (name: string) => ids.get(name) ?? name;
  const names = new Map([...document.organizations.keys()].map((name) => [idOf(name), name]));
  const organizations = new Map(
    [...document.organizations].map(([name, organization]) => [idOf(name), organization]),
  );
  return {
    organizations,
    trust: document.trust.map((rule) => ({ ...rule, organization: idOf(rule.organization) })),
    policies: document.policies,
    credential: (id, credential) => {
      const name = names.get(id);
      return name === undefined ? undefined : document.credential(name, credential);
    },
    credentialsOf: (id) => {
      const name = names.get(id);
      return name === undefined ? [] : document.credentialsOf(name);
    },
    integration: (id, integration) => {
      const name = names.get(id);
      return name === undefined ? undefined : document.integration(name, integration);
    },
    integrations: [...document.integrations].map((integration) => ({
      ...integration,
      organization: idOf(integration.organization),
    })),
  };
}

/** Policies speak of organizations by their names. The credential asked about is one of that configuration, so its organization is there. */
export function evaluatorFor(document: Configuration): Pick<PolicyEvaluator, 'evaluate'> {
  const evaluator = PolicyEvaluator.compile(document);
  return {
    evaluate: (question: PolicyQuestion): PolicyDecision =>
      evaluator.evaluate({ ...question, organization: organizationNameOf(question.organization) }),
  };
}
