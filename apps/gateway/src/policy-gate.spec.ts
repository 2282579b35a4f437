import { describe, expect, it } from '@jest/globals';
import { http } from '@mayfly/contracts';
import type { BusClient } from '@mayfly/messaging';
import type { Admission } from './admission/admission.ts';
import { PolicyGate } from './policy-gate.ts';

/** What the gate charges for a call, and the operation of the bus that it leads to. */
async function chargeOf(method: string): Promise<{ kind: string; vital: boolean } | undefined> {
  let kind: string | undefined;
  let vital: boolean | undefined;
  const client = {
    call: (operation: { bus: { vital?: boolean } }) => {
      vital = operation.bus.vital === true;
      return Promise.resolve({});
    },
  };
  const admission = {
    charged: (_token: string, charged: string, call: () => Promise<unknown>) => {
      kind = charged;
      return call();
    },
  };
  const gate = new PolicyGate(client as unknown as BusClient, admission as unknown as Admission, '');
  const methods = Object.assign(gate, { seal: () => Promise.resolve('sealed') }) as unknown as Record<
    string,
    (caller: object, request: object) => Promise<unknown>
  >;
  await methods[method]?.({ token: 't', sourceIp: '192.0.2.1' }, {});
  return kind === undefined || vital === undefined ? undefined : { kind, vital };
}

// Of an assertion it depends on what it is for.
const methods = Object.getOwnPropertyNames(PolicyGate.prototype).filter(
  (name) => !['constructor', 'seal', 'assertionFor'].includes(name),
);

describe('PolicyGate', () => {
  it.each(methods)('charges %s as vital exactly when it is vital on the bus', async (method) => {
    const charge = await chargeOf(method);
    if (charge === undefined) return;
    expect(charge.kind).toBe(charge.vital ? 'vital' : 'usual');
  });

  it('leads to the end of a session', async () => {
    expect(methods).toContain('closeSession');
    expect(await chargeOf('closeSession')).toEqual({ kind: 'vital', vital: true });
    expect(http.administration.closeSession.http.vital).toBe(true);
  });
});
