/**
 * Keeps deploy/compose honest: each service is told what it needs and mounts what is its own, nothing secret stands in the
 * file, the least is reachable, and Prometheus and the example configuration fit.
 */
import { describe, expect, it } from '@jest/globals';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseConfiguration } from '@mayfly/configuration';
import { serviceNames, type ServiceName } from '@mayfly/contracts';
import { natsPermissions } from '@mayfly/messaging';
import { databaseServices, NATS_USER_NAMES, serviceEnvironment } from '@mayfly/stack';
import { parse } from 'yaml';
import { z } from 'zod';
import { natsAuthorityFile } from './prepare-keys.ts';
import { connectionFile, connectionVariable } from './prepare-service-database.ts';
import { DatabaseStep, IdentityStep, KeysStep, settingsOf, StreamsStep } from './settings.ts';

const deploy = fileURLToPath(new URL('../..', import.meta.url));
const root = join(deploy, '..');
const textOf = (...path: string[]) => readFileSync(join(deploy, ...path), 'utf8');

/** The parts of a service that the tests look at; `docker compose config` checks the rest. */
const Service = z.looseObject({
  image: z.string(),
  command: z.array(z.string()).default([]),
  entrypoint: z.array(z.string()).default([]),
  user: z.string().optional(),
  environment: z.record(z.string(), z.string()).default({}),
  volumes: z.array(z.string()).default([]),
  networks: z.array(z.string()).default([]),
  network_mode: z.string().optional(),
  ports: z.array(z.string()).default([]),
  secrets: z.array(z.string()).default([]),
  depends_on: z.record(z.string(), z.object({ condition: z.string() })).default({}),
  read_only: z.boolean().optional(),
  cap_drop: z.array(z.string()).optional(),
  security_opt: z.array(z.string()).optional(),
  privileged: z.boolean().optional(),
  mem_limit: z.string().optional(),
  restart: z.string().optional(),
  healthcheck: z.looseObject({ test: z.array(z.string()).optional() }).optional(),
});
const Compose = z.object({
  services: z.record(z.string(), Service),
  networks: z.record(z.string(), z.object({ internal: z.boolean().optional() })),
  volumes: z.record(z.string(), z.unknown()),
  secrets: z.record(z.string(), z.strictObject({ file: z.string() })),
});
type Service = z.infer<typeof Service>;

const compose = Compose.parse(parse(textOf('compose', 'compose.yaml'), { merge: true }));

function named(name: string): Service {
  const service = compose.services[name];
  if (service === undefined) throw new Error(`compose.yaml has no service ${name}.`);
  return service;
}

/** `[source, target, mode?]` of each mount. */
const mountsOf = (service: Service) => service.volumes.map((volume) => volume.split(':'));
const targetsOf = (service: Service) => mountsOf(service).map(([, target]) => target);
const ownsSchema = (name: ServiceName) => (databaseServices as readonly string[]).includes(name);

describe.each(serviceNames)('compose service %s', (name) => {
  const service = named(name);
  const { environment } = service;

  it('is told everything that the contract of services names', () => {
    const contract = serviceEnvironment(
      name,
      { operations: 8471, ...(name === 'gateway' ? { api: 8470 } : {}) },
      {
        natsUrl: 'tls://nats:4222',
        gatewayUrl: '${MAYFLY_PUBLIC_URL:-http://127.0.0.1:8470}',
        natsCaFile: join('/keys', natsAuthorityFile),
        natsSeedFile: (user) => `/keys/${user}/nats.nk`,
        postgresUrls: { policy: '-', revocation: '-', audit: '-' },
        keysFolder: '/keys',
        configFile: '/etc/mayfly/mayfly.yaml',
        checkpointFile: '/checkpoints/checkpoints.jsonl',
      },
    );
    // The one secret among them comes from a file.
    const plain = Object.entries(contract).filter(([variable]) => variable !== connectionVariable);
    expect(environment).toMatchObject({
      ...Object.fromEntries(plain),
      MAYFLY_OPERATIONS_BIND: '0.0.0.0',
      ...(name === 'gateway' ? { MAYFLY_BIND: '0.0.0.0' } : {}),
    });
    const fromFile = service.command.filter((part) => part.startsWith('--env-file='));
    expect(fromFile).toEqual(
      ownsSchema(name) ? [`--env-file=${join('/database', connectionFile(name as 'policy'))}`] : [],
    );
  });

  it('is told nothing that no setting reads', () => {
    const sources = [join(root, 'libs/service/src'), join(root, 'apps', name, 'src')].flatMap((folder) =>
      readdirSync(folder)
        .filter((file) => file === 'settings.ts')
        .map((file) => readFileSync(join(folder, file), 'utf8')),
    );
    const known = new Set(
      ['MAYFLY_CHECKPOINT_FILE', ...sources.join('\n').matchAll(/MAYFLY_\w+/g)].map(String),
    );
    const unknown = Object.keys(environment).filter(
      (variable) => variable.startsWith('MAYFLY_') && !known.has(variable),
    );
    expect(unknown).toEqual([]);
  });

  it('runs its own program with telemetry, which the image holds', () => {
    expect(service.command.slice(-3)).toEqual([
      '--import',
      './libs/telemetry/dist/register.js',
      `apps/${name}/dist/main.js`,
    ]);
  });

  it('mounts its own keys and the public ones, and only to read', () => {
    const keys = mountsOf(service).filter(([, target]) => target?.startsWith('/keys'));
    expect(keys).toEqual([
      [`keys-${name}`, `/keys/${name}`, 'ro'],
      ['keys-public', '/keys/public', 'ro'],
    ]);
    const database = mountsOf(service).filter(([, target]) => target?.startsWith('/database'));
    expect(database).toEqual(ownsSchema(name) ? [[`database-${name}`, `/database/${name}`, 'ro']] : []);
  });

  it('starts after the streams, and where it owns a schema after its role, are there', () => {
    const after = Object.entries(service.depends_on).map(([on, { condition }]) => [on, condition]);
    expect(after).toContainEqual(['setup-streams', 'service_completed_successfully']);
    if (ownsSchema(name)) {
      expect(after).toContainEqual(['setup-database', 'service_completed_successfully']);
    }
  });

  it('is asked whether it is ready, and comes back when it ends', () => {
    expect(service.healthcheck?.test?.join(' ')).toContain(
      `http://127.0.0.1:${environment['MAYFLY_OPERATIONS_PORT'] ?? ''}/readyz`,
    );
    expect(service.restart).toBe('unless-stopped');
  });
});

describe('compose.yaml', () => {
  it('confines every container', () => {
    for (const [name, service] of Object.entries(compose.services)) {
      expect([name, service]).toEqual([
        name,
        expect.objectContaining({
          read_only: true,
          cap_drop: ['ALL'],
          security_opt: ['no-new-privileges:true'],
          mem_limit: expect.stringMatching(/^\d+[mg]$/),
        }),
      ]);
      expect([name, service.privileged, service.network_mode ?? 'none']).toEqual([name, undefined, 'none']);
    }
  });

  it('lets each reach only what it needs', () => {
    const on = (network: string) =>
      Object.keys(compose.services).filter((name) => named(name).networks.includes(network));
    expect(on('bus').sort()).toEqual([...serviceNames, 'nats', 'setup-streams'].sort());
    expect(on('database').sort()).toEqual([...databaseServices, 'postgres', 'setup-database'].sort());
    expect(on('edge')).toEqual(['gateway']);
    expect(on('outbound').sort()).toEqual(['minting', 'policy']);
    expect(on('telemetry').sort()).toEqual([...serviceNames, 'jaeger', 'prometheus'].sort());
    for (const network of ['bus', 'database', 'telemetry']) {
      expect([network, compose.networks[network]?.internal]).toEqual([network, true]);
    }
  });

  it('publishes the gateway and the operators’ pages, on this machine unless told otherwise', () => {
    const published = Object.keys(compose.services).filter((name) => named(name).ports.length > 0);
    expect(published.sort()).toEqual(['gateway', 'jaeger', 'prometheus']);
    for (const name of published) expect(named(name).ports[0]).toContain('127.0.0.1');
  });

  it('publishes of the gateway its API alone: what it tells of itself is not for strangers', () => {
    const { environment, ports } = named('gateway');
    expect(ports.map((port) => port.split(':').at(-1))).toEqual([environment['MAYFLY_SERVICE_PORT']]);
    expect(environment['MAYFLY_OPERATIONS_PORT']).not.toBe(environment['MAYFLY_SERVICE_PORT']);
    expect(textOf('Dockerfile')).toContain(
      `process.env.MAYFLY_OPERATIONS_PORT ?? ${environment['MAYFLY_OPERATIONS_PORT'] ?? ''}`,
    );
  });

  it('holds no secret: no URL has a password, no variable of a service is one', () => {
    expect(textOf('compose', 'compose.yaml')).not.toMatch(/:\/\/[^/\s@]+:[^/\s@]+@/);
    for (const [name, { environment }] of Object.entries(compose.services)) {
      const secret = Object.keys(environment).filter(
        (variable) =>
          /PASSWORD|SECRET|TOKEN|SEED|POSTGRES_URL/.test(variable) && !/_FILE$|_ISSUER$/.test(variable),
      );
      expect([name, secret]).toEqual([name, name === 'setup-database' ? ['MAYFLY_ADMIN_POSTGRES_URL'] : []]);
    }
    expect(compose.secrets).toEqual({
      'postgres-admin-password': { file: './secrets/postgres-admin-password' },
    });
    expect(textOf('compose', 'secrets', '.gitignore')).toMatch(/^\*$/m);
  });

  it('gives the upstreams’ credentials to minting and Mayfly’s superuser to Postgres and its set-up alone', () => {
    const mounting = (part: string) =>
      Object.keys(compose.services).filter((name) =>
        named(name).volumes.some((volume) => volume.includes(part)),
      );
    expect(mounting('./secrets')).toEqual(['minting']);
    expect(mounting('checkpoints')).toEqual(['audit']);
    const superuser = Object.keys(compose.services).filter((name) => named(name).secrets.length > 0);
    expect(superuser.sort()).toEqual(['postgres', 'setup-database']);
  });

  it('declares every volume it mounts', () => {
    const used = Object.values(compose.services).flatMap((service) =>
      mountsOf(service).flatMap(([source = '']) => (/^\.|^\//.test(source) ? [] : [source])),
    );
    expect([...new Set(used)].sort()).toEqual(Object.keys(compose.volumes).sort());
  });

  it('pins every image to a version', () => {
    for (const { image } of Object.values(compose.services)) expect(image).toMatch(/:v?\d+\.\d+/);
    expect(textOf('Dockerfile')).toMatch(/^ARG NODE_IMAGE=node:\d+\.\d+\.\d+-slim$/m);
  });
});

describe('the set-up jobs', () => {
  it.each([
    ['setup-keys', KeysStep],
    ['setup-database', DatabaseStep],
    ['setup-streams', StreamsStep],
    ['identity', IdentityStep],
  ] as const)('%s has valid settings', (name, schema) => {
    expect(() => settingsOf<z.ZodType>(schema, named(name).environment)).not.toThrow();
  });

  it('make a NATS user for everybody who has permissions, each with a volume of its own', () => {
    expect([...NATS_USER_NAMES].sort()).toEqual(Object.keys(natsPermissions()).sort());
    const folders = [...NATS_USER_NAMES, 'public'].map((name) => `/keys/${name}`);
    const targets = targetsOf(named('setup-keys'));
    expect(targets.filter((target) => target?.startsWith('/keys')).sort()).toEqual(folders.sort());
    expect(mountsOf(named('setup-streams')).map(([source]) => source)).toEqual(['keys-setup', 'keys-public']);
  });

  it('name the bus as its clients do', () => {
    const { MAYFLY_NATS_NAMES = '' } = named('setup-keys').environment;
    for (const name of [...serviceNames, 'setup-streams']) {
      const { hostname } = new URL(named(name).environment['MAYFLY_NATS_URL'] ?? '');
      expect(MAYFLY_NATS_NAMES.split(',')).toContain(hostname);
    }
  });

  it('find their folders in the image, owned by the user that nats-server runs as', () => {
    const dockerfile = textOf('Dockerfile');
    for (const name of ['setup-keys', 'setup-database', 'identity', 'audit']) {
      const written = mountsOf(named(name)).filter(([, , mode]) => mode !== 'ro');
      for (const [, target] of written)
        expect(dockerfile).toMatch(new RegExp(`\\s${target ?? ''}(\\s|$)`, 'm'));
    }
    expect(dockerfile).toContain(`USER ${named('nats').user ?? '-'}`);
  });
});

describe('beside compose.yaml', () => {
  it('Prometheus scrapes every service where it listens', () => {
    const config = parse(textOf('prometheus', 'prometheus.yml')) as {
      scrape_configs: { static_configs: { targets: string[]; labels: { service: string } }[] }[];
    };
    const scraped = config.scrape_configs.flatMap(({ static_configs }) =>
      static_configs.map(({ targets, labels }) => [labels.service, ...targets]),
    );
    expect(scraped.sort()).toEqual(
      serviceNames
        .map((name) => [name, `${name}:${named(name).environment['MAYFLY_OPERATIONS_PORT'] ?? ''}`])
        .sort(),
    );
  });

  it('alerts ask for metrics that exist', () => {
    const folder = join(root, 'libs/telemetry/src/metrics');
    const declared = readdirSync(folder)
      .filter((file) => !file.endsWith('.spec.ts'))
      .map((file) => readFileSync(join(folder, file), 'utf8'))
      .join('\n');
    const asked = new Set(
      [...textOf('prometheus', 'alerts.yml').matchAll(/\bmayfly_\w+/g)].map(([metric]) => metric),
    );
    expect(asked.size).toBeGreaterThan(6);
    for (const metric of asked) expect(declared).toContain(`name: '${metric}'`);
  });

  it('the example configuration is valid and refers to what policy and minting mount', () => {
    const document = textOf('compose', 'mayfly.yaml');
    expect(parseConfiguration(document)).toMatchObject({ outcome: 'ok' });
    const mounted = [...targetsOf(named('policy')), ...targetsOf(named('minting'))];
    for (const [, path = ''] of document.matchAll(/: file:(\/\S+)/g)) {
      expect(mounted.some((target) => path.startsWith(`${target ?? '-'}/`))).toBe(true);
    }
  });
});
