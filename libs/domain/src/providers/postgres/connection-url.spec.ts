import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Secret } from '../../secret.ts';
import {
  channelBindings,
  sslModeOf,
  sslModes,
  targetSessionAttributes,
  targetSessionAttributesOf,
  type PostgresConnection,
} from './connection.ts';
import { parseConnectionUrl } from './connection-url.ts';
import { connectionUrlOf, leaseUrl } from './connection-url-text.ts';

/** With the secrets in the clear, so that they can be compared. */
function read(url: string): Record<string, unknown> {
  const parsed = parseConnectionUrl(url);
  if (parsed.outcome === 'refused') throw new Error(parsed.reason);
  return Object.fromEntries(
    Object.entries(parsed.connection).map(([name, value]) => [
      name,
      value instanceof Secret ? (value as Secret).reveal() : (value as unknown),
    ]),
  );
}

function refusal(url: string): string {
  const parsed = parseConnectionUrl(url);
  if (parsed.outcome === 'parsed') throw new Error('it was taken');
  return parsed.reason;
}

const at = (host: string, port = 5432) => ({ host, port });

describe('a connection URL', () => {
  it.each([
    {
      url: 'postgres://admin:pw@db.example:5433/shop',
      means: { hosts: [at('db.example', 5433)], user: 'admin', password: 'pw', database: 'shop' },
    },
    { url: 'postgresql://', means: { hosts: [at('localhost')] } },
    { url: 'postgresql:///shop', means: { hosts: [at('localhost')], database: 'shop' } },
    { url: 'postgresql://admin@db', means: { hosts: [at('db')], user: 'admin' } },
    { url: 'postgresql://:pw@db', means: { hosts: [at('db')], password: 'pw' } },
    // The first colon ends the user; the others belong to the password.
    { url: 'postgres://a:b:c@db', means: { hosts: [at('db')], user: 'a', password: 'b:c' } },
    {
      url: 'postgres://a%40b:%3A%2F%23%40%2B%25%20%3F@db/%3A%20%2F%20%23%40+%25',
      means: { hosts: [at('db')], user: 'a@b', password: ':/#@+% ?', database: ': / #@+%' },
    },
    { url: 'postgres://db/a+b', means: { hosts: [at('db')], database: 'a+b' } },
    { url: 'postgres://db/a/b', means: { hosts: [at('db')], database: 'a/b' } },
    { url: 'postgres://db/caf%C3%A9', means: { hosts: [at('db')], database: 'café' } },
    { url: 'postgres://[2001:db8::1]:5433/', means: { hosts: [at('2001:db8::1', 5433)] } },
    { url: 'postgres://[fe80::1%25eth0]', means: { hosts: [at('fe80::1%eth0')] } },
    { url: 'postgres:///?host=::1', means: { hosts: [at('::1')] } },
    { url: 'postgres://a:1,b,[::1]:3/', means: { hosts: [at('a', 1), at('b'), at('::1', 3)] } },
    { url: 'postgres:///?host=a,b&port=1,2', means: { hosts: [at('a', 1), at('b', 2)] } },
    { url: 'postgres:///?host=a,b&port=6432', means: { hosts: [at('a', 6432), at('b', 6432)] } },
    { url: 'postgres://a,b/?port=6432', means: { hosts: [at('a', 6432), at('b', 6432)] } },
    { url: 'postgres:///?host=,b', means: { hosts: [at('localhost'), at('b')] } },
    { url: 'postgres://%2Frun%2Fpg/shop', means: { hosts: [at('/run/pg')], database: 'shop' } },
    { url: 'postgres://%2Frun%2Fpg:6543', means: { hosts: [at('/run/pg', 6543)] } },
    {
      url: 'postgres://admin@/shop?host=/run/pg&port=5433',
      means: { hosts: [at('/run/pg', 5433)], user: 'admin', database: 'shop' },
    },
    {
      // A parameter wins.
      url: 'postgres://u:p@h:1/d?host=H&port=2&user=U&password=P&dbname=D',
      means: { hosts: [at('H', 2)], user: 'U', password: 'P', database: 'D' },
    },
    { url: 'postgres://h/d?host=&user=&dbname=&sslmode=', means: { hosts: [at('localhost')] } },
    { url: 'postgres://h?sslmode=verify-full', means: { hosts: [at('h')], sslMode: 'verify-full' } },
    { url: 'postgres://h?ssl=true', means: { hosts: [at('h')], sslMode: 'require' } },
    {
      url: 'postgres://h?sslrootcert=system',
      means: { hosts: [at('h')], sslMode: 'verify-full', sslRootCert: 'system' },
    },
    {
      url: 'postgres://h?sslmode=verify-ca&sslrootcert=/etc/ca.pem&sslcert=/c.pem&sslkey=/k.pem&sslpassword=p%26w',
      means: {
        hosts: [at('h')],
        sslMode: 'verify-ca',
        sslRootCert: '/etc/ca.pem',
        sslCert: '/c.pem',
        sslKey: '/k.pem',
        sslPassword: 'p&w',
      },
    },
    {
      url: 'postgres://h?target_session_attrs=prefer-standby&connect_timeout=3&application_name=a%20b&channel_binding=require',
      means: {
        hosts: [at('h')],
        targetSessionAttributes: 'prefer-standby',
        connectTimeoutSeconds: 3,
        applicationName: 'a b',
        channelBinding: 'require',
      },
    },
    {
      url: 'postgres://h?keepalives=1&keepalives_idle=3&tcp_user_timeout=5&gssencmode=disable&client_encoding=UTF8',
      means: { hosts: [at('h')] },
    },
  ])('is read as libpq reads it: $url', ({ url, means }) => {
    expect(read(url)).toEqual(means);
  });

  it.each([
    { url: '', says: /begin with postgres/ },
    { url: 'host=db password=hunter2', says: /begin with postgres/ },
    { url: 'mysql://admin:hunter2@db/shop', says: /begin with postgres/ },
    { url: 'POSTGRES://admin:hunter2@db/shop', says: /begin with postgres/ },
    { url: 'postgres://admin:hunter2', says: /port/ },
    { url: 'postgres://admin:hunter2@db:x1', says: /port/ },
    { url: 'postgres://admin:hunter2@db:0', says: /port/ },
    { url: 'postgres://admin:hunter2@db:65536', says: /port/ },
    { url: 'postgres://admin:hunter2@::1/shop', says: /IPv6 address into brackets/ },
    { url: 'postgres://admin:hunter2@[::1/shop', says: /\[IPv6 address\]:port/ },
    { url: 'postgres://admin:hunter2@[::1]x/shop', says: /\[IPv6 address\]:port/ },
    { url: 'postgres://admin:hunter2@[]/shop', says: /\[IPv6 address\]:port/ },
    { url: 'postgres://admin:hunter2@a,b/?port=1,2,3', says: /number of ports/ },
    { url: `postgres://admin:hunter2@${'h,'.repeat(16)}h/`, says: /more than 16 hosts/ },
    { url: 'postgres://admin:hunter2@-h/', says: /a host is no name/ },
    { url: 'postgres://admin:hunter2@a%22b/', says: /a host is no name/ },
    { url: 'postgres://admin:hunter2@/?host=run/pg', says: /a host is no name/ },
    { url: 'postgres://admin:hunter%zz@db', says: /write it as %25/ },
    { url: 'postgres://admin:hunter2%@db', says: /write it as %25/ },
    { url: 'postgres://admin:hunter2%ff@db', says: /UTF-8/ },
    { url: 'postgres://admin:hunter2%00@db', says: /NUL/ },
    { url: 'postgres://admin:hunter2@db/my shop', says: /%20/ },
    { url: ' postgres://admin:hunter2@db', says: /begin with postgres/ },
    { url: 'postgres://admin:hunter2@db\n', says: /line break/ },
    { url: 'postgres://admin:hunter2@db/\u{d800}', says: /Unicode/ },
    { url: 'postgres://admin:hunter2@db?sslmode', says: /name=value/ },
    { url: 'postgres://admin:hunter2@db?sslmode=a=b', says: /name=value/ },
    { url: 'postgres://admin:hunter2@db?sslmode=require&', says: /name=value/ },
    { url: 'postgres://admin:hunter2@db?sslmode=no-verify', says: /sslmode must be one of disable, allow/ },
    { url: 'postgres://admin:hunter2@db?sslmode=require&sslmode=disable', says: /sslmode stands twice/ },
    { url: 'postgres://admin:hunter2@db?ssl=true&sslmode=verify-full', says: /sslmode stands twice/ },
    { url: 'postgres://admin:hunter2@db?sslmode=verify-ca', says: /needs sslrootcert/ },
    { url: 'postgres://admin:hunter2@db?sslmode=require&sslrootcert=system', says: /verify-full only/ },
    { url: 'postgres://admin:hunter2@db?sslrootcert=ca.pem', says: /sslrootcert must be the absolute path/ },
    { url: 'postgres://admin:hunter2@db?sslcert=/c.pem', says: /both are needed/ },
    { url: 'postgres://admin:hunter2@db?sslcert=/c&sslkey=k', says: /sslkey must be the absolute path/ },
    { url: 'postgres://admin:hunter2@db?channel_binding=require&sslmode=disable', says: /needs TLS/ },
    { url: 'postgres://admin:hunter2@db?channel_binding=always', says: /channel_binding must be one of/ },
    {
      url: 'postgres://admin:hunter2@db?target_session_attrs=master',
      says: /must be one of any, read-write/,
    },
    { url: 'postgres://admin:hunter2@db?connect_timeout=soon', says: /connect_timeout must be a whole/ },
    {
      url: 'postgres://admin:hunter2@db?options=-csearch_path%3Dhunter2',
      says: /parameter options is not taken/,
    },
    { url: 'postgres://admin:hunter2@db?pgbouncer=true', says: /parameter pgbouncer is not one/ },
    { url: 'postgres://admin:hunter2@db?sslMode=require', says: /parameter sslMode is not one/ },
    { url: 'postgres://admin:hunter2@db?gssencmode=require', says: /gssencmode may only be disable/ },
    { url: 'postgres://admin:hunter2@db?client_encoding=LATIN1', says: /client_encoding may only be UTF8/ },
    { url: 'postgres://admin@db?password=hunter2&hunter2=x', says: /whose name is not shown/ },
    { url: 'postgres://admin@db?password=x&hostaddr=1.2.3.4', says: /parameter hostaddr is not one/ },
    { url: 'postgres://admin@db?hunter2%20=x', says: /whose name is not shown/ },
  ])('is refused with a sentence that quotes nothing secret of it: $url', ({ url, says }) => {
    const reason = refusal(url);
    expect(reason).toMatch(says);
    expect(reason).not.toContain('hunter');
    // Goes on from "the URL is refused: ".
    expect(reason).toMatch(/^[^A-Z].*[^.]$/);
  });

  // What a raw character makes of the rest of the password is told to nobody, because nothing is connected to.
  it.each([
    'postgres://admin:hun@ter2@db/shop',
    'postgres://ad@min:hunter2@db/shop',
    'postgres://admin:hun/ter2@db/shop',
    'postgres://admin:12/34@db/shop',
    'postgres://admin:/hunter2@db/shop',
    'postgres://admin:hun?ter2@db/shop',
    'postgres://admin:12?hunter=2@db/shop',
    'postgres://admin:12/x?hunter=2@db/shop',
    'postgres://admin:hun#ter2@db/shop',
    'postgres://admin:12#hunter@db/shop',
    'postgres://admin:hunter2@db/shop#x',
    'postgres://admin:hunter2@db/shop@x',
    'postgres://db/shop?user=admin@hunter2',
    'postgres://db/shop?password=hunter2@',
  ])('with a raw character that belongs percent-encoded is recognised: %s', (url) => {
    expect(refusal(url)).toMatch(/%40, %2F, %3F and %23/);
    expect(refusal(url)).not.toMatch(/hun|ter2|34|admin/);
  });

  it('with any password that holds a raw delimiter is refused without a word of the password', () => {
    const raw = fc.stringMatching(/^[A-Za-z0-9:&=,+-]{0,12}[/?#@][A-Za-z0-9:&=,+/?#@-]{0,12}$/);
    fc.assert(
      fc.property(raw, (password) => {
        expect(refusal(`postgres://admin:${password}@db/shop`)).toMatch(/%40, %2F, %3F and %23/);
      }),
    );
  });

  it('prints its passwords nowhere', () => {
    const parsed = parseConnectionUrl('postgres://a:hunter2@h?sslpassword=hunter3');
    expect(`${inspect(parsed, { depth: 9 })}${JSON.stringify(parsed)}`).not.toContain('hunter');
  });

  it('is never thrown at, whatever it is', () => {
    const pieces = fc.array(
      fc.oneof(
        fc.constantFrom('postgres://', '@', ':', '/', '?', '#', '&', '=', ',', '[', ']', '%', '%41', 'host='),
        fc.string({ unit: 'binary', maxLength: 4 }),
      ),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(fc.boolean(), pieces, (prefixed, texts) => {
        const url = `${prefixed ? 'postgres://' : ''}${texts.join('')}`;
        expect(['parsed', 'refused']).toContain(parseConnectionUrl(url).outcome);
      }),
      { numRuns: 2_000 },
    );
  });
});

const anyName = fc
  .oneof(
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }),
    fc.string({ unit: fc.constantFrom(...`:/#@+%?&=, '"\\[]aé`), minLength: 1, maxLength: 12 }),
  )
  .filter((text) => text.isWellFormed() && !text.includes('\0'));
const anyHost = fc.record({
  host: fc.constantFrom('db', 'db-1.example', '10.0.0.1', '::1', 'fe80::1%eth0', '/run/a b', '/var/run'),
  port: fc.integer({ min: 1, max: 65_535 }),
});
const anyHosts = fc
  .array(anyHost, { minLength: 1, maxLength: 4 })
  .map(([first, ...others]) => [first ?? at('db'), ...others] as const);
const optional = { requiredKeys: [] as never[] };

describe('writing a connection URL', () => {
  it('is undone by reading it, for any names and any password', () => {
    const connections = fc.tuple(
      anyHosts,
      fc.record(
        {
          user: anyName,
          password: anyName.map((text) => new Secret(text)),
          database: anyName,
          sslMode: fc.constantFrom(...sslModes.filter((mode) => mode !== 'verify-ca')),
          sslPassword: anyName.map((text) => new Secret(text)),
          targetSessionAttributes: fc.constantFrom(...targetSessionAttributes),
          connectTimeoutSeconds: fc.integer({ min: -1, max: 100 }),
          applicationName: anyName,
        },
        optional,
      ),
    );
    fc.assert(
      fc.property(connections, ([hosts, rest]) => {
        const connection: PostgresConnection = { hosts, ...rest };
        const reveal = (value: unknown) => (value instanceof Secret ? (value as Secret).reveal() : value);
        const plain = Object.fromEntries(Object.entries(connection).map(([key, v]) => [key, reveal(v)]));
        expect(read(connectionUrlOf(connection))).toEqual(plain);
      }),
      { numRuns: 500 },
    );
  });

  it('for the holder of a lease is undone by reading it, with its password and without', () => {
    const places = fc.record({
      hosts: anyHosts,
      database: anyName,
      username: anyName,
      sslmode: fc.constantFrom(undefined, ...sslModes.filter((mode) => mode !== 'verify-ca')),
      channel_binding: fc.constantFrom(undefined, ...channelBindings.filter((value) => value !== 'require')),
      target_session_attrs: fc.constantFrom(undefined, ...targetSessionAttributes),
    });
    fc.assert(
      fc.property(places, fc.option(anyName, { nil: undefined }), (place, password) => {
        const [{ host, port }] = place.hosts;
        const url = leaseUrl({ ...place, host, port }, password);
        const expected = {
          hosts: place.hosts,
          user: place.username,
          password,
          database: place.database,
          sslMode: place.sslmode,
          channelBinding: place.channel_binding,
          targetSessionAttributes: place.target_session_attrs,
        };
        expect(read(url)).toEqual(
          Object.fromEntries(Object.entries(expected).filter(([, value]) => value !== undefined)),
        );
      }),
    );
  });

  it('keeps the form that drivers without several hosts and sockets know', () => {
    const place = {
      host: 'db',
      port: 5433,
      database: 'a b',
      username: 'mayfly_1',
      sslmode: 'require',
    } as const;
    expect(leaseUrl(place, 'p w')).toBe('postgresql://mayfly_1:p%20w@db:5433/a%20b?sslmode=require');
    expect(leaseUrl({ ...place, host: '::1' })).toBe(
      'postgresql://mayfly_1@[::1]:5433/a%20b?sslmode=require',
    );
    expect(leaseUrl({ ...place, host: '/run/pg' })).toBe(
      'postgresql://mayfly_1@/a%20b?host=%2Frun%2Fpg&port=5433&sslmode=require',
    );
  });
});

describe('what holds where the URL says nothing', () => {
  it('is TLS if the server has it, and any server', () => {
    expect(sslModeOf({})).toBe('prefer');
    expect(targetSessionAttributesOf({ hosts: [at('a')] })).toBe('any');
  });

  it('is, of several servers, the one that can be written to', () => {
    expect(targetSessionAttributesOf({ hosts: [at('a'), at('b')] })).toBe('read-write');
    expect(targetSessionAttributesOf({ hosts: [at('a'), at('b')], targetSessionAttributes: 'any' })).toBe(
      'any',
    );
  });
});
