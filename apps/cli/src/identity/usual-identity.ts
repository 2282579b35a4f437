/** Which development identity a command uses unless `--as` says otherwise: one table, so that nothing is guessed. */

export const developmentIdentities = ['agent', 'administrator', 'auditor'] as const;
export type DevelopmentIdentity = (typeof developmentIdentities)[number];

export const usualIdentity = {
  get: 'agent',
  exec: 'agent',
  credentials: 'agent',
  leases: 'agent',
  /** `mayfly leases --failing`: what an operator looks for. */
  failingLeases: 'administrator',
  renew: 'agent',
  /** `mayfly revoke <lease-id>`: the agent gives its own back. */
  giveBack: 'agent',
  /** `mayfly revoke --session …` and the other subjects. */
  revoke: 'administrator',
  revocations: 'administrator',
  block: 'administrator',
  unblock: 'administrator',
  blocks: 'administrator',
  sessions: 'administrator',
  /** `mayfly sessions close`. */
  closeSession: 'administrator',
  apply: 'administrator',
  configGet: 'administrator',
  configHistory: 'administrator',
  configDiff: 'administrator',
  configRollback: 'administrator',
  audit: 'auditor',
} as const satisfies Record<string, DevelopmentIdentity>;

export type IdentifiedCommand = keyof typeof usualIdentity;
