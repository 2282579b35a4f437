/** The orders that services take from their control file, as `libs/service/src/failpoints.ts` reads them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ServiceName } from '@mayfly/contracts';
import { repositoryRoot } from '@mayfly/stack';

export interface FailpointOrder {
  readonly at: string;
  readonly action: 'kill' | 'pause';
  /** Default 1: the first time. */
  readonly pass?: number;
}

/** Every failpoint that services know. Read from their source, so that none is forgotten here. */
export function knownFailpoints(): string[] {
  const source = readFileSync(join(repositoryRoot(), 'libs', 'service', 'src', 'failpoints.ts'), 'utf8');
  const list = /failpoints = \[(?<list>.*?)\] as const/su.exec(source)?.groups?.['list'] ?? '';
  return [...list.matchAll(/'(?<name>[a-z.-]+)'/gu)].map((match) => match.groups?.['name'] ?? '');
}

/** The service that passes a failpoint. */
export function serviceOf(failpoint: string): ServiceName {
  return failpoint.split('.', 1)[0] as ServiceName;
}
