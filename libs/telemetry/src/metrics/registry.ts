/**
 * Metrics in Prometheus form. Each Mayfly metric is declared once, in this folder, by a function that takes the
 * registry: a service registers just those it owns. Units are seconds and counts; names follow
 * https://prometheus.io/docs/practices/naming/.
 */
import { collectDefaultMetrics, Registry } from 'prom-client';

/** A registry with Node's process metrics, in which every series carries `service`. Serve it as `/metrics`. */
export function createMetrics(service: string): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry });
  return registry;
}
