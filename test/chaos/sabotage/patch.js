/** Changes a service's code while it is loaded, for the proof that the chaos suite notices. Fails loudly when there is nothing to change. */
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';

/** In the module of that path below the repository, replaces the one occurrence of `from`. */
export function patch(path, from, to) {
  // Every service loads this, and only some load that module: what is on disk is looked at first, so that a module that
  // has been moved, and would never be loaded, is noticed too.
  const file = new URL(`../../..${path}`, import.meta.url);
  replaced(readFileSync(file, 'utf8'));
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (url !== file.href) return loaded;
      return { ...loaded, source: replaced(loaded.source.toString()) };
    },
  });

  function replaced(source) {
    if (source.split(from).length !== 2)
      throw new Error(`${path} does not have "${from}" once: adapt the sabotage`);
    return source.replace(from, () => to);
  }
}
