/** Starts the policy service. */
import { loadSettings, startService } from '@mayfly/service';
import { PolicyModule } from './policy.module.ts';
import { PolicySettings } from './settings.ts';

const settings = loadSettings(PolicySettings);
await startService({
  service: 'policy',
  settings,
  module: (host) => PolicyModule.register(host, settings),
});
