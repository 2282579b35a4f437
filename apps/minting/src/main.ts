/** Minting: redeems grants, calls providers, seals results, and ends at providers what it minted. */
import { loadSettings, startService } from '@mayfly/service';
import { MintingModule } from './minting.module.ts';
import { MintingSettings } from './settings.ts';

const settings = loadSettings(MintingSettings);

await startService({
  service: 'minting',
  settings,
  // Four times what one organization may have under way.
  maxConcurrent: 4 * settings.MAYFLY_MINTS_PER_ORGANIZATION,
  module: (host) => MintingModule.register(host, settings),
});
