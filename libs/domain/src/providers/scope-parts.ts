/** Parts that the definitions of several providers are made of. */
import type { z } from 'zod';

/** Refuses an array that names an item twice. */
export function uniqueItems<T extends z.ZodArray<z.ZodType<string>>>(schema: T): T {
  return schema.refine((items) => new Set(items as string[]).size === (items as string[]).length, {
    error: 'must not name anything twice',
  });
}

export function isSubset(part: readonly string[], whole: readonly string[]): boolean {
  return part.every((item) => whole.includes(item));
}

/**
 * One sentence about the first thing that is wrong with a requested scope. It may repeat a key of the request, so what
 * may not stand in a reason (control characters, halves of surrogate pairs) is replaced.
 */
export function describeRequestProblem(error: z.ZodError): string {
  const issue = error.issues[0];
  if (issue === undefined) return 'the scope is malformed';
  const where = issue.path.length > 0 ? `scope.${issue.path.map(String).join('.')}` : 'scope';
  return `${where}: ${issue.message}`
    .slice(0, 200)
    .toWellFormed()
    .replaceAll(/\p{Cc}/gu, '\uFFFD');
}
