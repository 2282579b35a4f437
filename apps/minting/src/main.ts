/** Minting: redeems grants, calls providers, seals results, and ends at providers what it minted. */
import { loadSettings, startService } from '@mayfly/service';
import { MintingModule } from './minting.module.ts';
import { MintingSettings } from './settings.ts';

const settings = loadSettings(MintingSettings);

await startService({
  service: 'minting',
  settings,
  module: (host) => MintingModule.register(host, settings),
});
