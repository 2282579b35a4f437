/** SPIFFE IDs of agents and people (SPIFFE-ID §2). */

import { spiffeSegmentForm } from '@mayfly/contracts';

function isSegment(value: string): boolean {
  return spiffeSegmentForm.test(value);
}

export interface AgentName {
  readonly orchestration: string;
  readonly task: string;
  readonly instance: string;
}

/** `spiffe://<trust domain>/agent/<orchestration>/<task>/<instance>`, or undefined when a part may not stand in a path. */
export function agentId(trustDomain: string, name: AgentName): string | undefined {
  const parts = [name.orchestration, name.task, name.instance];
  return parts.every(isSegment) ? `spiffe://${trustDomain}/agent/${parts.join('/')}` : undefined;
}

const agentPath = /^spiffe:\/\/[^/]+\/agent\/([^/]+)\/([^/]+)\/([^/]+)$/;

/** The orchestration that an agent belongs to, by its SPIFFE ID; undefined for a person, and for what is no ID of an agent. */
export function orchestrationOf(id: string): string | undefined {
  const parts = agentPath.exec(id)?.slice(1) ?? [];
  return parts.length === 3 && parts.every(isSegment) ? parts[0] : undefined;
}

/**
 * `spiffe://<trust domain>/person/<name>`. An `@` becomes `.at.`, because a SPIFFE path knows no `@`. The first `.at.` of an
 * ID always stands for the `@`; a name for which that would not be so is refused, so two people never share an ID.
 */
export function personId(trustDomain: string, name: string): string | undefined {
  const part = name.replace('@', '.at.');
  const isUnambiguous = part.indexOf('.at.') === name.indexOf('@');
  return isUnambiguous && isSegment(part) ? `spiffe://${trustDomain}/person/${part}` : undefined;
}

/** The trust domain of a canonical SPIFFE ID: it tells whose agent or person it is. */
export function trustDomainOf(id: string): string {
  return /^spiffe:\/\/([^/]+)\//.exec(id)?.[1] ?? '';
}
