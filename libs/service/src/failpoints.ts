/**
 * Named steps at which a test has a process die or stop, to see what becomes of what it had in hand. Tests only: without
 * the settings of `test-settings.ts` a failpoint is one comparison and nothing can switch it on.
 */
import { readFileSync, renameSync } from 'node:fs';
import { z } from 'zod';

/** Every step, in the order of the flow it belongs to. Each is passed by the service that its name begins with. */
export const failpoints = [
  // The mint.
  'policy.decision.before',
  'policy.decision.committed',
  'minting.intent.before',
  'minting.intent.after',
  'minting.provider.before',
  'minting.provider.after',
  'minting.activation.before',
  'revocation.activation.before',
  'revocation.activation.committed',
  'minting.reply.before',
  'gateway.reply.before',
  'minting.withdrawal.before',
  'minting.withdrawal.after',
  'revocation.abandon.committed',
  // The intent, and what becomes of it without activation.
  'revocation.intent.before',
  'revocation.intent.committed',
  'revocation.orphan.before',
  'revocation.orphan.committed',
  'minting.reconcile.before',
  'minting.reconcile.after',
  'revocation.cleanup.committed',
  // The renewal in place, and by a successor, which is minted as above.
  'policy.renewal.before',
  'revocation.renewal.before',
  'revocation.renewal.begun',
  'minting.renewal.before',
  'minting.renewal.after',
  'revocation.renewal.prolonged',
  'revocation.renewal.committed',
  'gateway.renewal.before',
  'policy.succession.reserved',
  'revocation.succession.before',
  'revocation.succession.committed',
  // The end.
  'revocation.end-asked.committed',
  'revocation.revoke.committed',
  'revocation.gather.before',
  'revocation.gather.committed',
  'revocation.claim.before',
  'revocation.claim.committed',
  'revocation.provider.before',
  'minting.revoke.before',
  'minting.revoke.after',
  'minting.clean-up.before',
  'minting.clean-up.after',
  'revocation.provider.after',
  'revocation.end.committed',
  // Events.
  'revocation.relay.claimed',
  'revocation.relay.published',
  'policy.relay.claimed',
  'policy.relay.published',
  'policy.leases.before',
  'policy.leases.committed',
  'audit.insert.before',
  'audit.insert.committed',
] as const;
export type Failpoint = (typeof failpoints)[number];

/**
 * What a control file holds, or nothing. The first process that reaches the step for the `pass`-th time since it saw the order
 * takes it: the file is renamed to `<file>.taken`, so an order is carried out once, whatever replicas there are.
 */
export const FailpointOrder = z.strictObject({
  at: z.enum(failpoints),
  /** SIGKILL or SIGSTOP to itself. */
  action: z.enum(['kill', 'pause']),
  pass: z.number().int().min(1).default(1),
});
export type FailpointOrder = z.input<typeof FailpointOrder>;

let controlFile: string | undefined;
let seen = '';
let passes = 0;

/** From now on this process carries out the orders of the control file. Called at start, when the settings allow it. */
export function armFailpoints(file: string): void {
  controlFile = file;
}

/** A step that a test may name. Costs a comparison unless armed; armed, a look at a small file. */
export function failpoint(name: Failpoint): void {
  if (controlFile !== undefined) carryOut(controlFile, name);
}

function carryOut(file: string, name: Failpoint): void {
  const text = readOrder(file);
  if (!text.includes(`"${name}"`)) return;
  if (text !== seen) {
    seen = text;
    passes = 0;
  }
  const order = FailpointOrder.parse(JSON.parse(text));
  if (order.at !== name || ++passes < order.pass || !take(file)) return;
  process.kill(process.pid, order.action === 'kill' ? 'SIGKILL' : 'SIGSTOP');
}

function readOrder(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** Only one process succeeds in renaming. */
function take(file: string): boolean {
  try {
    renameSync(file, `${file}.taken`);
    return true;
  } catch {
    return false;
  }
}
