import { describe, expect, it } from '@jest/globals';
import { AgentId, BlockSubject, exactText, RevocationSubject, TraceId, User, Uuid } from './identifiers.ts';

const form = (
  schema: { safeParse(value: unknown): { success: boolean; data?: unknown } },
  value: unknown,
) => {
  const parsed = schema.safeParse(value);
  return parsed.success ? parsed.data : 'refused';
};

describe('a UUID and a trace id', () => {
  it('have one form, whatever case they come in', () => {
    const id = '0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21';
    expect(form(Uuid, id.toUpperCase())).toBe(id);
    expect(form(Uuid, `{${id}}`)).toBe('refused');
    expect(form(Uuid, id.replaceAll('-', ''))).toBe('refused');
    expect(form(TraceId, 'AB'.repeat(16))).toBe('ab'.repeat(16));
  });
});

describe('the SPIFFE ID of an agent', () => {
  const id = 'spiffe://acme.example/agent/ci/Build/1';

  it('has a scheme and a trust domain of any case, and a path that is compared to the letter', () => {
    expect(form(AgentId, id)).toBe(id);
    expect(form(AgentId, 'SPIFFE://Acme.Example/agent/ci/Build/1')).toBe(id);
    expect(form(AgentId, 'spiffe://acme.example/person/ada.at.example.com')).toBe(
      'spiffe://acme.example/person/ada.at.example.com',
    );
  });

  it.each([
    `${id}/`,
    'spiffe://acme.example/agent/ci/build',
    'spiffe://acme.example/agent/ci/build/1/2',
    'spiffe://acme.example/agent/ci//1',
    'spiffe://acme.example/agent/ci/../1',
    'spiffe://acme.example/agent/ci/build/.',
    'spiffe://acme.example/Agent/ci/build/1',
    'spiffe:///agent/ci/build/1',
    'spiffe://acme.example:443/agent/ci/build/1',
    'spiffe://\u212acme.example/agent/ci/build/1',
    'spiffe://acme.example/agent/ci/build/1\u200b',
    'spiffe://acme.example/agent/ci/build/%31',
    'ci/build/1',
  ])('is not %j', (value) => {
    expect(form(AgentId, value)).toBe('refused');
  });
});

describe('a user', () => {
  it.each([
    ['ada@example.com', 'ada@example.com'],
    ['Ada@Example.COM', 'ada@example.com'],
    ['Zoe\u0308@example.com', 'zo\u00eb@example.com'],
    ['ZO\u00cb@example.com', 'zo\u00eb@example.com'],
    ['\u212bsa@example.com', '\u00e5sa@example.com'],
    ['Ada Lovelace', 'ada lovelace'],
    ['auth0|5F7c', 'auth0|5f7c'],
  ])('written %j is %j', (written, user) => {
    expect(form(User, written)).toBe(user);
    expect(form(User, user)).toBe(user);
  });

  it.each([
    '',
    'ada@example.com\u200b',
    'a\u00adda@example.com',
    'ada\u034f@example.com',
    '\u202eada@example.com',
    'ada@example.com\ufe0f',
    'ada@example.com\u{e0061}',
    'ada\u00a0lovelace',
    ' ada@example.com',
    'ada@example.com ',
    'ada\n@example.com',
    'ada@example.com\ud800',
    'ada@example.com\ue000',
    'x'.repeat(257),
  ])('is not %j', (value) => {
    expect(form(User, value)).toBe('refused');
  });

  it('has one form for every character there is: bringing it into it twice changes nothing', () => {
    for (let point = 1; point <= 0x10ffff; point++) {
      const once = form(User, `x${String.fromCodePoint(point)}x`);
      if (once !== 'refused' && form(User, once) !== once) throw new Error(`U+${point.toString(16)}`);
    }
  });
});

describe('a subject', () => {
  it.each([BlockSubject, RevocationSubject])('has the form of its kind', (schema) => {
    const id = '0199A3C4-7D1E-7B3A-9F10-2C5D8E6B4A21';
    expect(form(schema, { kind: 'session', id })).toEqual({ kind: 'session', id: id.toLowerCase() });
    expect(form(schema, { kind: 'user', id: 'Ada@example.com' })).toEqual({
      kind: 'user',
      id: 'ada@example.com',
    });
    expect(form(schema, { kind: 'agent', id: 'ada@example.com' })).toBe('refused');
    expect(form(schema, { kind: 'session', id: 'ada@example.com' })).toBe('refused');
    expect(form(schema, { kind: 'credential', id: 'orders-db' })).toBe('refused');
    expect(form(schema, { kind: 'integration', id: 'orders-db/x' })).toBe('refused');
  });

  it('that is an organization may be left unnamed', () => {
    expect(form(RevocationSubject, { kind: 'organization' })).toEqual({ kind: 'organization' });
    expect(form(RevocationSubject, { kind: 'organization', id: 'acme.2' })).toEqual({
      kind: 'organization',
      id: 'acme.2',
    });
    expect(form(RevocationSubject, { kind: 'organization', id: 'Acme' })).toBe('refused');
  });
});

describe('text that is compared to the letter', () => {
  it('is in NFC and hides nothing', () => {
    expect(form(exactText(64), 'https://tool.example/Ä')).toBe('https://tool.example/Ä');
    expect(form(exactText(64), 'https://tool.example\u200b')).toBe('refused');
    expect(form(exactText(64), 'A\u0308')).toBe('refused');
  });
});
