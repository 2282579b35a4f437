/** Metrics of the configuration, owned by policy. */
import { Gauge, type Registry } from 'prom-client';

/**
 * `mayfly_config_recovered_timestamp_seconds`: when a document was last applied by `mayfly-policy recover`, in seconds since the epoch; 0
 * when it never was.
 */
export function configRecovered(registry: Registry): Gauge {
  return new Gauge({
    name: 'mayfly_config_recovered_timestamp_seconds',
    help: 'When a configuration was last applied from the machine, without a session',
    registers: [registry],
  });
}
