/**
 * Starts telemetry before the service loads: `node --import …/libs/telemetry/dist/register.js dist/main.js`.
 * Set `OTEL_SERVICE_NAME` to `mayfly-gateway` and so on; see `start.ts` for what else the environment decides.
 */
import { startTelemetry } from './start.ts';

startTelemetry();
