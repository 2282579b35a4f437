/** Changes a service's code while it is loaded, for the proof that the chaos suite notices. Fails loudly when there is nothing to change. */
import { registerHooks } from 'node:module';

/** In the module whose path ends so, replaces the one occurrence of `from`. */
export function patch(pathEnd, from, to) {
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (!url.endsWith(pathEnd)) return loaded;
      const source = loaded.source.toString();
      if (source.split(from).length !== 2)
        throw new Error(`${pathEnd} does not have "${from}" once: adapt the sabotage`);
      return { ...loaded, source: source.replace(from, to) };
    },
  });
}
