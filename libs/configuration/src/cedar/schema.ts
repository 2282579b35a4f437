/**
 * What Cedar policies may speak of. Names of roles, integrations and credentials are those of the document, and mean those
 * of the organization that is being decided for.
 */
export const cedarSchema = `
entity Organization;
entity Role;
entity Agent in [Role, Organization] {
  agent_id: String,
  user?: String,
  task?: String,
};
entity Person in [Organization] {
  agent_id: String,
  user?: String,
  task?: String,
};
entity Integration in [Organization] { provider: String };
entity Credential in [Integration] { provider: String, writes: Bool };
action "mint" appliesTo {
  principal: [Agent, Person],
  resource: [Credential],
  context: {
    source_ip: ipaddr,
    ttl_seconds: Long,
    claimed_task?: String,
    justification_given: Bool,
    now_hour: Long,
  },
};
`;

/** A Cedar string literal. JSON's escapes are not Cedar's, so only what needs none may be in it: names of the document. */
export function cedarName(name: string): string {
  if (!/^[A-Za-z0-9_./-]*$/.test(name)) throw new TypeError('not a name of the document');
  return `"${name}"`;
}
