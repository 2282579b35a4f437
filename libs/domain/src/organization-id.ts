/**
 * What an organization is known by. The first that has a name is known by the name alone; each later one, after the name was
 * given away, by the name and its number, so that nothing of the earlier ones is its own (I5).
 */

/** The n-th organization of a name, from 1. */
export function organizationId(name: string, generation: number): string {
  return generation === 1 ? name : `${name}.${generation}`;
}

/** The name in the configuration document. No name has a dot. */
export function organizationNameOf(id: string): string {
  return id.split('.', 1).join('');
}
