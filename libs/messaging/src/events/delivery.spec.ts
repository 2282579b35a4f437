import { describe, expect, it } from '@jest/globals';
import type { Msg } from '@nats-io/transport-node';
import { HeldMessage, PoisonMessage, redeliveryDelayMs } from './delivery.ts';
import { newEvent } from './new-event.ts';

function message(subject: string, data: string, reply: string, answers: string[] = []): Msg {
  return {
    subject,
    data: new TextEncoder().encode(data),
    reply,
    respond: (payload: Uint8Array) => answers.push(new TextDecoder().decode(payload)) > 0,
  } as unknown as Msg;
}

const reply = '$JS.ACK.MAYFLY_EVENTS.audit-events.3.41.57.1700000000000000000.9';
const event = newEvent('policy', 'session.opened', { organization: 'acme' });

describe('HeldMessage', () => {
  it.each([reply, reply.replace('$JS.ACK.', '$JS.ACK.hub.AbCd.') + '.rnd'])('reads %s', (subject) => {
    const held = new HeldMessage(message('mayfly.events.session.opened', '', subject));
    expect(held).toMatchObject({
      stream: 'MAYFLY_EVENTS',
      redeliveries: 2,
      sequence: 41,
      consumerSequence: 57,
      pending: 9,
    });
  });

  it('opens an event of its own subject only', () => {
    const json = JSON.stringify(event);
    expect(new HeldMessage(message('mayfly.events.session.opened', json, reply)).open().event).toEqual(event);
    const elsewhere = new HeldMessage(message('mayfly.events.credential.issued', json, reply));
    expect(() => elsewhere.open()).toThrow(PoisonMessage);
  });

  it.each(['', 'null', '{', '{"specversion":"1.0"}', `${'['.repeat(50_000)}`])(
    'finds %.20s poisonous',
    (data) => {
      expect(() => new HeldMessage(message('mayfly.events.session.opened', data, reply)).open()).toThrow(
        PoisonMessage,
      );
    },
  );

  it('is settled once', () => {
    const answers: string[] = [];
    const held = new HeldMessage(message('mayfly.events.session.opened', '', reply, answers));
    held.nak(1_500);
    held.ack();
    expect(answers).toEqual(['-NAK {"delay":1500000000}']);
  });

  it('is not settled over another connection than it came on', () => {
    const answers: string[] = [];
    new HeldMessage(message('mayfly.events.session.opened', '', reply, answers), () => false).ack();
    expect(answers).toEqual([]);
  });
});

describe('redeliveryDelayMs', () => {
  it('doubles from 1 s to 60 s and never is less than 1 s', () => {
    expect([0, 1, 2, 5, 6, 500].map((count) => redeliveryDelayMs(count, false, () => 0))).toEqual([
      1_000, 2_000, 4_000, 32_000, 60_000, 60_000,
    ]);
    expect([0, 1, 6].map((count) => redeliveryDelayMs(count, false, () => 1))).toEqual([
      1_000, 1_000, 30_000,
    ]);
  });

  it('stays short while a dependency is away', () => {
    expect([0, 2, 6, 500].map((count) => redeliveryDelayMs(count, true, () => 0))).toEqual([
      1_000, 4_000, 5_000, 5_000,
    ]);
  });
});
