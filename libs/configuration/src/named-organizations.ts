/** The organizations that a document names, read without judging the rest: for documents that other releases have applied. */
import { Name, trustDomainForm } from '@mayfly/contracts';
import { asMap } from './document/sentences.ts';
import { readYaml } from './document/yaml.ts';

/** Undefined when the document can't be read at all. Never throws. */
export function namedOrganizations(
  document: string,
): { readonly name: string; readonly trustDomain: string }[] | undefined {
  const blocks = asMap(readYaml(document).value)?.['organizations'];
  if (!Array.isArray(blocks)) return undefined;
  return blocks.flatMap((block) => {
    const { name, trust_domain: trustDomain } = asMap(block) ?? {};
    const known = Name.safeParse(name);
    const isOne = known.success && typeof trustDomain === 'string' && trustDomainForm.test(trustDomain);
    return isOne ? [{ name: known.data, trustDomain }] : [];
  });
}
