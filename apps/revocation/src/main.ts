/** The revocation service: the lease register, and the end of every lease. */
import { startService } from '@mayfly/service';
import { RevocationModule } from './revocation.module.ts';
import { revocationSettings } from './settings.ts';

const settings = revocationSettings();
await startService({
  service: 'revocation',
  settings,
  module: (host) => RevocationModule.register(host, settings),
});
