/**
 * I12: bad input of any size or shape gets a clear 4xx and costs bounded work. Over real HTTP against a stack of its own,
 * which at the end must be the very processes that it was before, with nothing minted but the control's lease.
 */
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { httpOperations, tokenExchangeGrantType, jwtTokenType, type HttpOperation } from '@mayfly/contracts';
import type { AgentApi } from '@mayfly/stack';
import {
  agentClaims,
  identityToken,
  openSession,
  personClaims,
  startWholeStack,
  type TestStack,
} from '@mayfly/testing';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import {
  answersIn,
  canary,
  expectRefusal,
  send,
  sendBytes,
  sqlTexts,
  unknownField,
  unstorableTexts,
  without,
  type Answer,
} from './bad-input.ts';
import { wrongDocuments } from './wrong-documents.ts';

const requestTimeoutMs = 1_500;
const credential = 'orders-db/readonly';

describe('I12', () => {
  let stack: TestStack;
  let agent: AgentApi;
  let administrator: AgentApi;
  let identity: string;
  let pids: Record<string, number>;

  beforeAll(async () => {
    stack = await startWholeStack({
      env: { gateway: { MAYFLY_REQUEST_TIMEOUT_MS: String(requestTimeoutMs) } },
    });
    agent = await openSession(stack);
    administrator = await openSession(
      stack,
      personClaims(['administrators', 'auditors', 'platform-administrators']),
    );
    identity = await identityToken(stack, agentClaims());
    pids = pidsNow();
  }, 60_000);

  afterAll(() => stack.stop());

  const pidsNow = () =>
    Object.fromEntries(Object.entries(stack.services).map(([name, service]) => [name, service.pid]));

  const bearer = (of: AgentApi = agent) => ({ authorization: `Bearer ${of.sessionToken}` });
  const json = { 'content-type': 'application/json' };
  const form = { 'content-type': 'application/x-www-form-urlencoded' };

  const post = (path: string, body: unknown, of: AgentApi = agent, more: Record<string, string> = {}) =>
    send(stack.gatewayUrl, 'POST', path, {
      headers: { ...bearer(of), ...json, ...more },
      body:
        typeof body === 'string' || Buffer.isBuffer(body) || body instanceof Readable
          ? body
          : JSON.stringify(body),
    });
  const get = (path: string, of: AgentApi = agent) =>
    send(stack.gatewayUrl, 'GET', path, { headers: bearer(of) });

  describe('a token', () => {
    it('that is malformed, truncated, oversized or of another kind is refused', async () => {
      const { sessionToken: token } = agent;
      const tool = await openSession(stack);
      const { secret, lease_id } = await tool.lease('reports-api/read');
      const bad: Record<string, string> = {
        'no scheme': token,
        'another scheme': `Basic ${token}`,
        'no token': 'Bearer ',
        'two tokens': `Bearer ${token} ${token}`,
        'two tokens with a comma': `Bearer ${token}, Bearer ${token}`,
        'no JWT': `Bearer ${canary}`,
        'empty parts': 'Bearer ...',
        'many parts': `Bearer ${'a.'.repeat(8_000)}`,
        '16 KB': `Bearer ${'a'.repeat(16_000)}`,
        '20 KB': `Bearer ${'a'.repeat(20_000)}`,
        'a platform identity': `Bearer ${identity}`,
        'a tool token': `Bearer ${String(secret['token'])}`,
      };
      for (const part of [0.1, 0.4, 0.7, 0.99])
        bad[`cut at ${part}`] = `Bearer ${token.slice(0, Math.floor(token.length * part))}`;
      const parts = token.split('.');
      parts.forEach((part, index) => {
        const middle = Math.floor(part.length / 2);
        const other = part[middle] === 'A' ? 'B' : 'A';
        const altered = parts.with(index, part.slice(0, middle) + other + part.slice(middle + 1));
        bad[`altered in part ${index}`] = `Bearer ${altered.join('.')}`;
      });
      const claims = JSON.parse(Buffer.from(parts[1] ?? '', 'base64url').toString()) as object;
      const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
      bad['another organization'] =
        `Bearer ${parts.with(1, encode({ ...claims, organization: 'globex' })).join('.')}`;
      bad['algorithm none'] = `Bearer ${encode({ alg: 'none' })}.${parts[1] ?? ''}.`;
      for (const [what, authorization] of Object.entries(bad)) {
        const headers = { authorization, ...json };
        const asked = await send(stack.gatewayUrl, 'POST', '/v1/leases', {
          headers,
          body: JSON.stringify({ credential }),
        });
        expectRefusal(what, asked, 401);
        expect(asked.headers['www-authenticate']).toContain('Bearer');
        expectRefusal(
          what,
          await send(stack.gatewayUrl, 'GET', '/v1/credentials', { headers: { authorization } }),
          401,
        );
      }
      expectRefusal('none', await send(stack.gatewayUrl, 'GET', '/v1/credentials'), 401);
      await tool.giveBack(lease_id);
    }, 30_000);
  });

  describe('a platform identity', () => {
    it.each(['orchestration', 'task', 'instance', 'role', 'on_behalf_of', 'org'])(
      'is refused when its %s could not be stored, or is neither text nor a whole number',
      async (claim) => {
        const odd = [...unstorableTexts, '', `../${canary}`, 'a'.repeat(5_000), { a: canary }, [canary], 7.5];
        for (const value of odd) {
          const token = await identityToken(stack, agentClaims({ [claim]: value }));
          const fields = {
            grant_type: tokenExchangeGrantType,
            subject_token: token,
            subject_token_type: jwtTokenType,
          };
          const answer = await send(stack.gatewayUrl, 'POST', '/v1/token', {
            headers: form,
            body: new URLSearchParams(fields).toString(),
          });
          // A person's address may be any text that can be stored.
          if (claim === 'on_behalf_of' && value === `../${canary}`) expect(answer.status).toBe(200);
          else expectRefusal(`${claim} = ${JSON.stringify(value).slice(0, 60)}`, answer, 400);
        }
      },
      20_000,
    );
  });

  describe('a body', () => {
    const megabytes = 10;
    /** Straight to a socket: a client that only reads when all is written would lose the answer with the connection. */
    const sendMegabytes = (
      method: string,
      path: string,
      headers: Record<string, string>,
      chunked: boolean,
    ) => {
      const lines = Object.entries({
        host: 'localhost',
        ...headers,
        ...(chunked
          ? { 'transfer-encoding': 'chunked' }
          : { 'content-length': String(megabytes * 1024 * 1024) }),
      }).map(([name, value]) => `${name}: ${value}`);
      const piece = 'a'.repeat(1024 * 1024);
      const body = chunked
        ? `${`${piece.length.toString(16)}\r\n${piece}\r\n`.repeat(megabytes)}0\r\n\r\n`
        : piece.repeat(megabytes);
      const bytes = `${method} ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n${body}`;
      return sendBytes(stack.gatewayUrl, bytes);
    };

    it.each([
      ['POST', '/v1/leases', json],
      ['POST', '/v1/token', form],
      ['POST', '/v1/introspect', form],
      ['PUT', '/v1/config', json],
      ['POST', '/v1/revocations', json],
    ])('of 10 MB is refused at %s %s, with and without a length', async (method, path, headers) => {
      for (const chunked of [false, true]) {
        const raw = await sendMegabytes(method, path, { ...headers, ...bearer() }, chunked);
        expectRefusal(chunked ? 'chunked' : 'with a length', answersIn(raw), 413);
      }
    });

    it('of 70 KB is refused where no document is expected', async () => {
      expectRefusal('json', await post('/v1/leases', { credential, task: 'a'.repeat(70_000) }), 413);
    });

    it.each<[string, string | Buffer]>([
      ['nested 100,000 deep, lists', '['.repeat(30_000) + ']'.repeat(30_000)],
      ['nested deep, objects', '{"a":'.repeat(10_000) + '1' + '}'.repeat(10_000)],
      ['a scope nested 9 deep', JSON.stringify({ credential, scope: nested(9) })],
      ['not closed', '{"credential":"orders-db/readonly"'],
      ['no JSON', canary],
      ['a list', '[]'],
      ['null', 'null'],
      ['a number', '1e999'],
      ['a text', '"orders-db/readonly"'],
      ['empty', ''],
      ['NUL bytes', Buffer.alloc(1_000)],
      [
        'invalid UTF-8',
        Buffer.concat([
          Buffer.from(`{"credential":"${credential}","task":"`),
          Buffer.from([0xc3, 0x28, 0xff]),
          Buffer.from('"}'),
        ]),
      ],
      [
        'overlong UTF-8',
        Buffer.concat([
          Buffer.from(`{"credential":"${credential}","task":"`),
          Buffer.from([0xc0, 0xaf]),
          Buffer.from('"}'),
        ]),
      ],
      [
        'a byte order mark',
        Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(JSON.stringify({ credential }))]),
      ],
      ['UTF-16', Buffer.from(JSON.stringify({ credential }), 'utf16le')],
      ['__proto__', `{"credential":"${credential}","__proto__":{"ttl_seconds":1}}`],
      ['__proto__ within', `{"credential":"${credential}","scope":{"__proto__":{"a":1}}}`],
      ['__proto__ escaped', `{"credential":"${credential}","\\u005f_proto__":{"a":1}}`],
      ['constructor', `{"credential":"${credential}","constructor":{"prototype":{"a":1}}}`],
      ['1,000 unknown fields', JSON.stringify({ credential, ...manyFields(1_000) })],
      ['another organization', JSON.stringify({ credential, organization: 'globex' })],
      ['a huge number', `{"credential":"${credential}","ttl_seconds":${'9'.repeat(400)}}`],
      ['a number above all', `{"credential":"${credential}","ttl_seconds":1e400}`],
      ['a fraction', `{"credential":"${credential}","ttl_seconds":1.5}`],
      ['a number in hex', `{"credential":"${credential}","ttl_seconds":0x10}`],
    ])('that is %s is refused', async (what, body) => {
      expectRefusal(what, await post('/v1/leases', body), 400);
    });

    it('nested 100,000 deep is refused by its size or its depth wherever it is sent', async () => {
      const deep = '['.repeat(100_000);
      expectRefusal('lease', await post('/v1/leases', deep), 400, 413);
      const config = await send(stack.gatewayUrl, 'PUT', '/v1/config', {
        headers: { ...bearer(administrator), ...json },
        body: deep,
      });
      expectRefusal('config', config, 400, 413);
    });

    it.each([
      ['text/plain', JSON.stringify({ credential })],
      ['application/xml', `<credential>${credential}</credential>`],
      [
        'multipart/form-data; boundary=x',
        `--x\r\ncontent-disposition: form-data; name="credential"\r\n\r\n${credential}\r\n--x--`,
      ],
      ['application/json; charset=utf-16', Buffer.from(JSON.stringify({ credential }), 'utf16le')],
      ['application/x-www-form-urlencoded', `credential=${encodeURIComponent(credential)}`],
      ['application/json, text/plain', JSON.stringify({ credential })],
      ['*/*', JSON.stringify({ credential })],
      ['', JSON.stringify({ credential })],
    ])('of content type "%s" is refused where JSON is expected', async (type, body) => {
      expectRefusal(type, await post('/v1/leases', body, agent, { 'content-type': type }), 400, 415);
    });

    it('in JSON is refused where a form is expected, and so is a parameter given twice', async () => {
      const fields = {
        grant_type: tokenExchangeGrantType,
        subject_token: identity,
        subject_token_type: jwtTokenType,
      };
      const asJson = await send(stack.gatewayUrl, 'POST', '/v1/token', {
        headers: json,
        body: JSON.stringify(fields),
      });
      expectRefusal('json', asJson, 400, 415);
      const twice = `${new URLSearchParams(fields).toString()}&subject_token=${identity}`;
      expectRefusal(
        'twice',
        await send(stack.gatewayUrl, 'POST', '/v1/token', { headers: form, body: twice }),
        400,
      );
      const many = new URLSearchParams(manyFields(1_000)).toString();
      expectRefusal(
        'many',
        await send(stack.gatewayUrl, 'POST', '/v1/token', { headers: form, body: many }),
        400,
      );
    });
  });

  describe('every operation with a body', () => {
    const withBody = httpOperations.filter(({ http }) => http.method === 'POST' || http.method === 'PUT');

    it.each(withBody.map((operation) => [operation.name, operation] as const))(
      '%s refuses every field that is not what its contract says, and every field that it does not know',
      async (name, operation) => {
        const sample = samples(identity)[name];
        if (sample === undefined) throw new Error(`Write down a good body for ${name}.`);
        expect(operation.input.safeParse({ ...sample, ...pathParameters(operation) }).success).toBe(true);
        const isForm = operation.http.body === 'form';
        const path = operation.http.path.replace(/\{\w+\}/, uuidv7());
        const ask = (body: Record<string, unknown>): Promise<Answer> =>
          send(stack.gatewayUrl, operation.http.method, path, {
            headers: { ...bearer(administrator), ...(isForm ? form : json) },
            body: isForm
              ? new URLSearchParams(body as Record<string, string>).toString()
              : JSON.stringify(body),
          });
        let refused = 0;
        const fields = fieldsOf(operation);
        for (const field of fields) {
          for (const value of isForm ? wrongTexts : wrongValues) {
            const body = { ...sample, [field]: value };
            if (operation.input.safeParse({ ...body, ...pathParameters(operation) }).success) continue;
            expectRefusal(
              `${name}.${field} = ${JSON.stringify(value).slice(0, 60)}`,
              await ask(body),
              400,
              413,
            );
            refused++;
          }
          if (field in sample && Object.keys(sample).length > 0) {
            const { [field]: left, ...others } = sample;
            expect(left).toBeDefined();
            if (!operation.input.safeParse({ ...others, ...pathParameters(operation) }).success)
              expectRefusal(`${name} without ${field}`, await ask(others), 400);
          }
        }
        if (fields.length > 0) expect(refused).toBeGreaterThan(3);
        for (const unknown of [
          unknownField,
          'constructor',
          'toString',
          'hasOwnProperty',
          'lease_id',
          '$where',
        ])
          expectRefusal(`${name} with ${unknown}`, await ask({ ...sample, [unknown]: canary }), 400);
      },
      60_000,
    );
  });

  describe('text that could do harm behind the gateway', () => {
    it('is refused in every text of a request for a lease when it could not be stored', async () => {
      for (const text of unstorableTexts) {
        const what = JSON.stringify(text);
        for (const field of ['credential', 'task', 'justification'])
          expectRefusal(`${field}: ${what}`, await post('/v1/leases', { credential, [field]: text }), 400);
        const base = { privileges: ['SELECT'], schemas: ['public'] };
        for (const scope of [
          { ...base, tables: [`public.${text}`] },
          { ...base, schemas: [text] },
          { ...base, [text.replace(canary, unknownField)]: 1 },
        ])
          expectRefusal(`scope: ${what}`, await post('/v1/leases', { credential, scope }), 400, 403);
        const reports = { credential: 'reports-api/read', scope: { scopes: [`read:reports:${text}`] } };
        expectRefusal(`scopes: ${what}`, await post('/v1/leases', reports), 400, 403);
      }
    }, 30_000);

    it('is refused in what administrators write when it could not be stored', async () => {
      for (const text of unstorableTexts) {
        const what = JSON.stringify(text);
        for (const kind of ['lease', 'session', 'agent', 'user', 'credential', 'integration', 'organization'])
          expectRefusal(
            `${kind}: ${what}`,
            await post('/v1/revocations', { subject: { kind, id: text }, reason: 'x' }, administrator),
            400,
          );
        const subject = { kind: 'lease', id: uuidv7() };
        expectRefusal(
          `reason: ${what}`,
          await post('/v1/revocations', { subject, reason: text }, administrator),
          400,
        );
        for (const kind of ['agent', 'user', 'session', 'credential', 'integration'])
          expectRefusal(
            `block of ${kind}: ${what}`,
            await post('/v1/blocks', { subject: { kind, id: text }, reason: 'x' }, administrator),
            400,
          );
        const blocked = { kind: 'user', id: 'nobody' };
        expectRefusal(
          `reason of a block: ${what}`,
          await post('/v1/blocks', { subject: blocked, reason: text }, administrator),
          400,
        );
        expectRefusal(`action: ${what}`, await post(`/v1/leases/${uuidv7()}/uses`, { action: text }), 400);
      }
    }, 30_000);

    it.each(sqlTexts)(
      'is nothing but text: %s',
      async (sql) => {
        expectRefusal('credential', without(await post('/v1/leases', { credential: sql }), sql), 404);
        expectRefusal(
          'task',
          await post('/v1/leases', { credential: 'orders-db/nothing', task: sql, justification: sql }),
          404,
        );
        expectRefusal(
          'scope',
          await post('/v1/leases', { credential, scope: { privileges: [sql], schemas: [sql] } }),
          400,
          403,
        );
        expectRefusal(
          'table',
          await post('/v1/leases', {
            credential,
            scope: { privileges: ['SELECT'], schemas: ['public'], tables: [`public.${sql}`] },
          }),
          400,
          403,
          502,
        );
        const key = { 'idempotency-key': sql };
        expectRefusal(
          'key',
          await post('/v1/leases', { credential: 'orders-db/nothing' }, agent, key),
          400,
          404,
        );
        for (const kind of ['lease', 'session', 'agent', 'user', 'credential', 'integration']) {
          const answer = await post(
            '/v1/revocations',
            { subject: { kind, id: sql }, reason: sql },
            administrator,
          );
          if (answer.status === 202)
            expect(JSON.parse(answer.text)).toMatchObject({ matched: 0, leases: [] });
          else expectRefusal(`revoking by ${kind}`, answer, 400);
        }
        const organization = { subject: { kind: 'organization', id: sql }, reason: 'x' };
        expectRefusal('organization', await post('/v1/revocations', organization, administrator), 400);
        const encoded = encodeURIComponent(sql);
        for (const path of [
          `/v1/leases/${encoded}`,
          `/v1/leases?after=${encoded}`,
          `/v1/leases?state=${encoded}`,
          `/v1/leases?limit=${encoded}`,
          `/v1/audit/leases/${encoded}`,
          `/v1/revocations/${encoded}`,
          ...['leases', 'after', 'limit'].map(
            (name) => `/v1/revocations/${uuidv7()}?leases=ended&${name}=${encoded}`,
          ),
          ...['after', 'limit'].flatMap((name) => [
            `/v1/revocations?${name}=${encoded}`,
            `/v1/blocks?${name}=${encoded}`,
            `/v1/sessions?${name}=${encoded}`,
          ]),
          ...['kind', 'agent_id'].map((name) => `/v1/sessions?${name}=${encoded}`),
          ...['lease_id', 'trace_id', 'session_id', 'since', 'until', 'after', 'limit'].map(
            (name) => `/v1/audit/events?${name}=${encoded}`,
          ),
        ])
          expectRefusal(path, await get(path, administrator), 400, 414);
        expectRefusal('use', await post(`/v1/leases/${uuidv7()}/uses`, { action: sql }), 404);
        expectRefusal(
          'header',
          await send(stack.gatewayUrl, 'GET', '/v1/leases', { headers: { authorization: `Bearer ${sql}` } }),
          401,
        );
      },
      30_000,
    );

    it.each([
      { subject: { kind: 'everything', id: 'x' }, reason: 'x' },
      { subject: { kind: 'user' }, reason: 'x' },
      { subject: [{ kind: 'user', id: 'x' }], reason: 'x' },
      { subject: { kind: 'nothing', id: 'x' }, reason: 'x' },
      { subject: { kind: 'user', id: 'x', agent: 'y' }, reason: 'x' },
      { subject: { kind: 'user', id: 'x' } },
    ])('is no subject to revoke: %j', async (body) => {
      expectRefusal('revocation', await post('/v1/revocations', body, administrator), 400);
    });

    it.each([
      { subject: { kind: 'organization', id: 'acme' }, reason: 'x' },
      { subject: { kind: 'lease', id: uuidv7() }, reason: 'x' },
      { subject: { kind: 'session', id: 'x' }, reason: 'x' },
      { subject: { kind: 'user', id: 'nobody' }, reason: 'x', for_seconds: 0 },
      { subject: { kind: 'user', id: 'nobody' }, reason: 'x', for_seconds: 1e12 },
      { subject: { kind: 'user', id: 'nobody' }, reason: 'x', revoke: 'yes' },
    ])('is no block: %j', async (body) => {
      expectRefusal('block', await post('/v1/blocks', body, administrator), 400);
    });

    it('finds nothing in the audit log', async () => {
      for (const text of sqlTexts) {
        for (const name of ['agent_id', 'type']) {
          const answer = await get(`/v1/audit/events?${name}=${encodeURIComponent(text)}`, administrator);
          if (answer.status === 200) expect(JSON.parse(answer.text)).toEqual({ events: [] });
          else expectRefusal(name, answer, 400);
        }
      }
      for (const text of unstorableTexts.filter((one) => one.isWellFormed()))
        expectRefusal(
          text,
          await get(`/v1/audit/events?agent_id=${encodeURIComponent(text)}`, administrator),
          400,
        );
    });
  });

  describe('a query, path or method', () => {
    it.each([
      '/v1/leases?limit=1&limit=2',
      '/v1/leases?state=live&state=all',
      '/v1/leases?limit=0',
      '/v1/leases?limit=1000000000000000000000000',
      '/v1/leases?limit=-1',
      '/v1/leases?limit=NaN',
      '/v1/leases?limit[]=1',
      '/v1/leases?limit=1e999',
      '/v1/leases?__proto__=1',
      '/v1/leases?constructor=1',
      '/v1/leases?unknown=1',
      '/v1/leases?after=%00',
      '/v1/leases?after=%ff%fe',
      '/v1/leases?after=%zz',
      `/v1/leases?${Array.from({ length: 1_000 }, (_, n) => `a${n}=1`).join('&')}`,
      '/v1/leases/%00',
      '/v1/leases/%zz',
      '/v1/leases/%ff',
      `/v1/leases/${'a'.repeat(2_000)}`,
      `/v1/leases/${'%2e%2e%2f'.repeat(20)}etc%2fpasswd`,
      '/v1/leases/018f0000-0000-7000-8000-000000000001?lease_id=018f0000-0000-7000-8000-000000000002',
      '/v1/audit/events?limit=1&limit=1',
      '/v1/audit/events?since=yesterday',
      '/v1/audit/events?after=99999999999999999999',
    ])('GET %s is refused', async (path) => {
      expectRefusal(path, await get(path, administrator), 400, 404, 414);
    });

    it.each([
      '/',
      '/v1',
      '/v2/leases',
      '/v1/leases/',
      '//v1/leases',
      '/v1/../readyz',
      '/v1/requests',
      '/admin',
      '/.env',
      '/V1/LEASES',
    ])('GET %s is not there', async (path) => {
      expectRefusal(path, await get(path), 404);
    });

    it.each(['PATCH', 'PUT', 'DELETE', 'PROPFIND', 'TRACE', 'QUERY'])(
      'of the name %s is not there, and what there is is told',
      async (method) => {
        const answer = await send(stack.gatewayUrl, method, '/v1/leases', { headers: bearer() });
        expectRefusal(method, answer, 405);
        expect(answer.headers['allow']).toBe('GET, HEAD, POST, OPTIONS');
      },
    );

    it('that asks what there is, or for the head alone, is answered so', async () => {
      const options = await send(stack.gatewayUrl, 'OPTIONS', '/v1/token');
      expect([options.status, options.headers['allow'], options.text]).toEqual([204, 'POST, OPTIONS', '']);
      const head = await send(stack.gatewayUrl, 'HEAD', '/v1/credentials', { headers: bearer() });
      expect([head.status, head.text]).toEqual([200, '']);
      expect(Number(head.headers['content-length'])).toBeGreaterThan(2);
      expect((await send(stack.gatewayUrl, 'HEAD', '/v1/credentials')).status).toBe(401);
    });

    it.each(['/healthz', '/readyz', '/metrics'])('GET %s is not for strangers', async (path) => {
      expectRefusal(path, await get(path), 404);
      const told = await fetch(`${stack.services.gateway.url}${path}`);
      expect(told.status).toBe(200);
      expect(await told.text()).not.toContain('orders-db');
    });

    it('with a body where none belongs is refused or ignored', async () => {
      const answer = await send(stack.gatewayUrl, 'GET', '/v1/credentials', {
        headers: { ...bearer(), ...json },
        body: '{"a":',
      });
      if (answer.status !== 200) expectRefusal('GET with a body', answer, 400);
    });
  });

  describe('headers', () => {
    it('of 20 KB are put up with, more are refused', async () => {
      const padding = (bytes: number) => ({ ...bearer(), 'x-padding': 'a'.repeat(bytes) });
      expect(
        (await send(stack.gatewayUrl, 'GET', '/v1/credentials', { headers: padding(20_000) })).status,
      ).toBe(200);
      expectRefusal(
        '40 KB',
        await send(stack.gatewayUrl, 'GET', '/v1/credentials', { headers: padding(40_000) }),
        431,
      );
      const many = Object.fromEntries(Array.from({ length: 3_000 }, (_, n) => [`x-${n}`, 'a'.repeat(10)]));
      expectRefusal(
        '3,000',
        await send(stack.gatewayUrl, 'GET', '/v1/credentials', { headers: { ...bearer(), ...many } }),
        431,
        401,
        400,
      );
    });

    it.each(['', ' ', 'a b', 'a'.repeat(256), 'ä', '\t'])(
      'with the Idempotency-Key "%s" are refused',
      async (key) => {
        expectRefusal(
          key,
          await post('/v1/leases', { credential: 'orders-db/nothing' }, agent, { 'idempotency-key': key }),
          400,
        );
      },
    );

    it('that claim another address or trace change nothing but the trace', async () => {
      for (const more of [
        { 'x-forwarded-for': `${canary}, 10.0.0.1` },
        { traceparent: `00-${canary}-x-01` },
        { traceparent: '00-'.padEnd(10_000, '0') },
        { tracestate: `a=${'b'.repeat(5_000)}` },
        { forwarded: `for=${canary}` },
        { 'x-http-method-override': 'DELETE' },
      ])
        expectRefusal(
          JSON.stringify(more).slice(0, 60),
          await post('/v1/leases', { credential: 'orders-db/nothing' }, agent, more),
          404,
        );
    });
  });

  describe('bytes that are hardly HTTP', () => {
    const host = 'Host: localhost\r\n';
    const smuggled = `GET /openapi.json HTTP/1.1\r\n${host}\r\n`;

    it.each<[string, string]>([
      [
        'both lengths',
        `POST /v1/leases HTTP/1.1\r\n${host}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
      ],
      [
        'two lengths',
        `POST /v1/leases HTTP/1.1\r\n${host}Content-Length: 0\r\nContent-Length: 40\r\n\r\n${smuggled}`,
      ],
      ['a length with a sign', `POST /v1/leases HTTP/1.1\r\n${host}Content-Length: +5\r\n\r\nabcde`],
      ['a negative length', `POST /v1/leases HTTP/1.1\r\n${host}Content-Length: -1\r\n\r\n`],
      ['an endless length', `POST /v1/leases HTTP/1.1\r\n${host}Content-Length: ${'9'.repeat(30)}\r\n\r\n`],
      [
        'a transfer encoding of another name',
        `POST /v1/leases HTTP/1.1\r\n${host}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${smuggled}`,
      ],
      [
        'chunked twice',
        `POST /v1/leases HTTP/1.1\r\n${host}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n${smuggled}`,
      ],
      [
        'a space before the colon',
        `POST /v1/leases HTTP/1.1\r\n${host}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n${smuggled}`,
      ],
      [
        'a chunk length in no digits',
        `POST /v1/leases HTTP/1.1\r\n${host}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n${smuggled}`,
      ],
      [
        'a chunk longer than all',
        `POST /v1/leases HTTP/1.1\r\n${host}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n`,
      ],
      [
        'a chunk extension without end',
        `POST /v1/leases HTTP/1.1\r\n${host}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1;${'a'.repeat(40_000)}`,
      ],
      ['a folded header', `GET /v1/credentials HTTP/1.1\r\n${host}X-A: b\r\n c: d\r\n\r\n`],
      ['a NUL in a header', `GET /v1/credentials HTTP/1.1\r\n${host}X-A: a\0b\r\n\r\n`],
      ['a header without a name', `GET /v1/credentials HTTP/1.1\r\n${host}: x\r\n\r\n`],
      ['a carriage return in a header', `GET /v1/credentials HTTP/1.1\r\n${host}X-A: a\rX-B: c\r\n\r\n`],
      ['no host', 'GET /v1/credentials HTTP/1.1\r\n\r\n'],
      ['an unknown method', `${canary} /v1/credentials HTTP/1.1\r\n${host}\r\n`],
      ['a space in the path', `GET /v1/cred entials HTTP/1.1\r\n${host}\r\n`],
      ['another protocol', `GET /v1/credentials ${canary}/1.1\r\n${host}\r\n`],
      ['a version that is none', `GET /v1/credentials HTTP/9.9\r\n${host}\r\n`],
      ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'.padEnd(200, '\x01')],
      ['noise', Array.from({ length: 4_096 }, (_, n) => String.fromCharCode((n * 7919) % 256)).join('')],
      ['a header of 100 KB', `GET /v1/credentials HTTP/1.1\r\n${host}X-A: ${'a'.repeat(100_000)}\r\n\r\n`],
      ['a path of 100 KB', `GET /${'a'.repeat(100_000)} HTTP/1.1\r\n${host}\r\n`],
    ])('are refused and their connection is closed: %s', async (what, bytes) => {
      const raw = await sendBytes(stack.gatewayUrl, bytes);
      const answer = answersIn(raw);
      const smuggledIn = raw.text.includes('HTTP/1.1 200');
      expect({ what, closed: raw.closed, smuggledIn }).toEqual({ what, closed: true, smuggledIn: false });
      // Node answers this one by itself, without a body.
      if (what === 'no host') expect(answer.status).toBe(400);
      else expectRefusal(what, answer);
    });

    it.each<[string, string]>([
      ['the request line', 'GET /v1/cred'],
      ['the headers', `GET /v1/credentials HTTP/1.1\r\n${host}X-A: `],
      [
        'the body',
        `POST /v1/token HTTP/1.1\r\n${host}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"a":`,
      ],
      [
        'a chunk',
        `POST /v1/token HTTP/1.1\r\n${host}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n{"a":`,
      ],
    ])(
      'that stop in %s are cut off in time',
      async (what, bytes) => {
        const raw = await sendBytes(stack.gatewayUrl, bytes, 15_000);
        expect({ what, closed: raw.closed }).toEqual({ what, closed: true });
        expect(raw.ms).toBeLessThan(2 * requestTimeoutMs + 2_000);
        if (raw.text !== '') expectRefusal(what, answersIn({ ...raw, ms: 0 }), 400, 408);
      },
      20_000,
    );
  });

  describe('a configuration document', () => {
    let running: string;
    const apply = (document: string) =>
      send(stack.gatewayUrl, 'PUT', '/v1/config', {
        headers: { ...bearer(administrator), ...json },
        body: JSON.stringify({ document }),
      });

    beforeAll(async () => {
      ({ document: running } = (await administrator.call('GET', '/v1/config')) as { document: string });
    });

    it.each(wrongDocuments)(
      'is rejected with the place of its mistake: %s',
      async (_what, change, place) => {
        const document = change(running);
        expect(document).not.toBe(running);
        const answer = await apply(document);
        expect(answer.ms).toBeLessThan(5_000);
        expect({ status: answer.status, text: answer.text.slice(0, 300) }).toMatchObject({ status: 200 });
        const { outcome, problems } = JSON.parse(answer.text) as {
          outcome: string;
          problems: { path: string; line?: number; message: string }[];
        };
        expect(outcome).toBe('rejected');
        expect(problems.length).toBeLessThanOrEqual(100);
        expect(problems.map(({ path }) => path)).toContainEqual(expect.stringMatching(place));
        expect(answer.text).not.toContain(canary);
        expect(await administrator.call('GET', '/v1/config')).toMatchObject({
          version: 1,
          document: running,
        });
      },
      20_000,
    );

    it.each([
      ['too long for the bus', () => `# ${'a'.repeat(786_500)}`],
      ['with a lone surrogate', () => `# \ud800\n${running}`],
    ])('is refused: %s', async (what, make) => {
      expectRefusal(what, await apply(make()), 400, 413);
    });
  });

  describe('after all that', () => {
    it('every service is the process that it was, is ready, and has logged no failure of its own', async () => {
      expect(pidsNow()).toEqual(pids);
      for (const [name, { url, pid, logFile }] of Object.entries(stack.services)) {
        expect([name, (await fetch(`${url}/readyz`)).status]).toEqual([name, 200]);
        expect([name, isAlive(pid)]).toEqual([name, true]);
        const failures = readFileSync(logFile, 'utf8')
          .split('\n')
          .filter((line) => /"level":"(?:error|fatal)"/.test(line))
          // Whose fault it was is told by the code: not ours.
          .filter(
            (line) =>
              !/"msg":"[a-z.-]+ answered (?:unauthenticated|provider_rejected|provider_unavailable)"/.test(
                line,
              ),
          );
        expect([name, failures]).toEqual([name, []]);
      }
    });

    it('nothing has been minted but for the control, which mints as ever', async () => {
      expect(await count(stack.ordersAdminUrl, "pg_roles WHERE rolname ~ '^mayfly_[0-9a-f]{32}$'")).toBe(0);
      const leases = await countByState(stack.postgres.databaseUrl);
      // The tool token, given back; and tables of an allowed schema, which only their database knows not to be there.
      expect(leases).toEqual({ revoked: 1, failed: sqlTexts.length });
      const task = sqlTexts.join(' ').slice(0, 256);
      const lease = await agent.lease(credential, { task });
      expect(await agent.leases()).toMatchObject([{ lease_id: lease.lease_id }]);
      expect(await count(stack.ordersAdminUrl, "pg_roles WHERE rolname ~ '^mayfly_[0-9a-f]{32}$'")).toBe(1);
    });

    it('the audit log has the intents of the control and no other', async () => {
      const sql = "audit.events WHERE type LIKE '%credential.intended%'";
      const intended = 2 + sqlTexts.length;
      const end = Date.now() + 20_000;
      while ((await count(stack.postgres.databaseUrl, sql)) < intended && Date.now() < end)
        await new Promise((resolve) => setTimeout(resolve, 100));
      expect(await count(stack.postgres.databaseUrl, sql)).toBe(intended);
    }, 30_000);

    it('no message was put aside as unreadable', async () => {
      for (const [name, { url }] of Object.entries(stack.services)) {
        if (name === 'gateway') continue;
        const metrics = await (await fetch(`${url}/metrics`)).text();
        const dead = metrics
          .split('\n')
          .filter((line) => /^mayfly_dead_letters\w*(?:\{.*\})? [1-9]/.test(line));
        expect([name, dead]).toEqual([name, []]);
      }
    });

    it('one address that sends too much is told so, and let in again', async () => {
      await stack.services.gateway.restart({ MAYFLY_SOURCE_RATE: '5', MAYFLY_SOURCE_BURST: '10' });
      const answers = await Promise.all(Array.from({ length: 50 }, () => get('/v1/credentials')));
      const refused = answers.filter(({ status }) => status !== 200);
      expect(refused.length).toBeGreaterThanOrEqual(30);
      for (const answer of refused) {
        expectRefusal('too many', answer, 429);
        expect(answer.headers['retry-after']).toBe('1');
      }
      expect((await fetch(`${stack.services.gateway.url}/readyz`)).status).toBe(200);
      const end = Date.now() + 10_000;
      while ((await get('/v1/credentials')).status !== 200) {
        if (Date.now() > end) throw new Error('The address was not let in again.');
        await new Promise((resolve) => setTimeout(resolve, 250));
      }
    }, 30_000);
  });
});

async function rows(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

async function count(url: string, from: string): Promise<number> {
  return Number((await rows(url, `SELECT count(*) FROM ${from}`))[0]?.['count']);
}

async function countByState(url: string): Promise<Record<string, number>> {
  const found = await rows(url, 'SELECT state, count(*) FROM revocation.leases GROUP BY state');
  return Object.fromEntries(found.map(({ state, count }) => [String(state), Number(count)]));
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

function nested(depth: number): object {
  return depth === 0 ? {} : { a: nested(depth - 1) };
}

function manyFields(fields: number): Record<string, string> {
  return Object.fromEntries(Array.from({ length: fields }, (_, n) => [`${unknownField}${n}`, canary]));
}

/** Top-level fields of the body. */
function fieldsOf(operation: HttpOperation): string[] {
  const { shape } = operation.input as unknown as { shape: Record<string, unknown> };
  return Object.keys(shape).filter((field) => !operation.http.path.includes(`{${field}}`));
}

function pathParameters(operation: HttpOperation): Record<string, string> {
  const named = ['lease_id', 'session_id'].filter((name) => operation.http.path.includes(`{${name}}`));
  return Object.fromEntries(named.map((name) => [name, uuidv7()]));
}

/** A good body of every operation that has one; none of them may mint. */
function samples(identity: string): Record<string, Record<string, unknown>> {
  return {
    openSession: {
      grant_type: tokenExchangeGrantType,
      subject_token: identity,
      subject_token_type: jwtTokenType,
    },
    endSession: { token: 'nothing' },
    introspectToolToken: { token: 'nothing' },
    createLease: { credential: 'orders-db/nothing' },
    renewLease: {},
    reportUse: {},
    heartbeat: {},
    revokeLeases: { subject: { kind: 'lease', id: uuidv7() }, reason: 'x' },
    addBlock: { subject: { kind: 'user', id: 'nobody' }, reason: 'x', for_seconds: 1, revoke: false },
    closeSession: { reason: 'x' },
    applyConfig: { document: '' },
  };
}

const wrongTexts = [
  canary,
  'a'.repeat(20_000),
  `${canary}\0`,
  '{"kty":"OKP"}',
  '[]',
  '{"kty":"OKP","crv":"X25519","x":"AA","d":"AA"}',
  '['.repeat(10_000),
];
const wrongValues: unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1.5,
  1e308,
  Number.MAX_SAFE_INTEGER,
  '',
  `${canary}\0`,
  `\ud800${canary}`,
  'a'.repeat(60_000),
  [],
  [canary],
  [[[]]],
  {},
  { [unknownField]: canary },
  { kind: canary, id: canary },
  { kind: 'lease', id: '' },
  { kind: 'lease', id: { $ne: null } },
  { kind: ['lease'], id: [canary] },
];
