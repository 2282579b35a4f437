/** The audit service: every event and signal into the chained log, once, and the queries that read it. */
import { loadSettings, startService } from '@mayfly/service';
import { AuditModule } from './audit.module.ts';
import { AuditSettings } from './settings.ts';

const settings = loadSettings(AuditSettings);

await startService({
  service: 'audit',
  settings,
  module: (host) => AuditModule.register(host, settings),
});
