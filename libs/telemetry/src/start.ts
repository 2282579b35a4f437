/** Starts OpenTelemetry for this process from the standard `OTEL_*` variables and nothing else. */
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { AlwaysOffSampler, NoopSpanProcessor } from '@opentelemetry/sdk-trace';
import { createInstrumentations } from './instrumentations.ts';
import { IssuanceSampler, samplerFromEnv } from './issuance-sampler.ts';
import { setRunning } from './running.ts';
import { silenceSpans } from './silent-spans.ts';
import { assertSupportedNode } from './supported-node.ts';

/**
 * Spans go where `OTEL_TRACES_EXPORTER` says (OTLP by default). With `none`, or `OTEL_SDK_DISABLED=true`, nothing is
 * exported, but spans still get ids and context still travels: a lease's trace id is part of Mayfly's answers and of its
 * audit log. Metrics (served by prom-client) and logs (on stdout) are exported over OTel only when
 * `OTEL_METRICS_EXPORTER` or `OTEL_LOGS_EXPORTER` is set.
 *
 * @throws Error with one clear sentence on a Node that is too old.
 */
export function startTelemetry(): void {
  assertSupportedNode();
  const disabled = process.env['OTEL_SDK_DISABLED']?.trim().toLowerCase() === 'true';
  // The SDK would install nothing at all, not even ids.
  if (disabled) delete process.env['OTEL_SDK_DISABLED'];
  const asked = (variable: string) => !disabled && (process.env[variable] ?? '').trim() !== '';
  const sendLogs = asked('OTEL_LOGS_EXPORTER');
  const exportsNothing = disabled || process.env['OTEL_TRACES_EXPORTER']?.trim() === 'none';

  // By default the process detector would export the command line, which may hold anything.
  process.env['OTEL_NODE_RESOURCE_DETECTORS'] ??= 'env,host,serviceinstance';

  const sdk = new NodeSDK({
    // Where nobody gets to see spans, only their ids matter: recording them would cost and give nothing.
    sampler: exportsNothing ? new AlwaysOffSampler() : new IssuanceSampler(samplerFromEnv(process.env)),
    instrumentations: createInstrumentations({ sendLogs }),
    ...(asked('OTEL_METRICS_EXPORTER') ? {} : { metricReaders: [] }),
    ...(sendLogs ? {} : { logRecordProcessors: [] }),
    // Without any processor the SDK installs no tracer provider, and all ids would be zero.
    ...(exportsNothing ? { spanProcessors: [new NoopSpanProcessor()] } : {}),
  });
  sdk.start();
  silenceSpans();
  patchBuiltIns();
  setRunning(sdk);
}

/** Outgoing calls by `import … from 'node:http'` are patched only once the CommonJS form has been loaded and synced. */
function patchBuiltIns(): void {
  const require = createRequire(import.meta.url);
  require('node:http');
  require('node:https');
  syncBuiltinESMExports();
}
