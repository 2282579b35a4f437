/**
 * One Jest for the whole workspace. Tests are TypeScript modules that import the libraries' sources (through
 * the custom export condition), so a test never runs against a stale build; only the tests that start Mayfly's
 * services as processes need `npm run build` first.
 */
import { availableParallelism } from 'node:os';

const shared = {
  testEnvironment: 'node',
  testEnvironmentOptions: { customExportConditions: ['@mayfly/source', 'node', 'node-addons'] },
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: {
          target: 'es2024',
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true, decoratorMetadata: true },
        },
        module: { type: 'nodenext' },
      },
    ],
  },
  modulePathIgnorePatterns: ['/dist/', '/.mayfly/'],
};

export default {
  // Most suites wait for processes and servers that they have started, so a machine of two cores runs three of them at once.
  maxWorkers: Math.max(3, availableParallelism() - 1),
  // Many of these start processes, on machines that are busy with the others: what hangs is cut off, what is slow is not.
  testTimeout: 30_000,
  projects: [
    {
      ...shared,
      displayName: 'unit',
      testMatch: ['<rootDir>/{apps,libs,deploy}/**/src/**/*.spec.ts'],
      testPathIgnorePatterns: ['/node_modules/', '/dist/', '\\.integration\\.spec\\.ts$'],
    },
    {
      ...shared,
      displayName: 'integration',
      testMatch: ['<rootDir>/{apps,libs,deploy}/**/src/**/*.integration.spec.ts'],
      globalSetup: '<rootDir>/test/integration/setup.ts',
      globalTeardown: '<rootDir>/test/integration/teardown.ts',
    },
    {
      ...shared,
      displayName: 'whole',
      testMatch: ['<rootDir>/test/{e2e,security,conformance}/**/*.spec.ts'],
      testPathIgnorePatterns: [
        '/node_modules/',
        '/test/security/hostile-lessee/',
        '/test/security/captured-service/',
      ],
      globalSetup: '<rootDir>/test/whole-stack/setup.ts',
      globalTeardown: '<rootDir>/test/whole-stack/teardown.ts',
    },
    {
      ...shared,
      displayName: 'hostile',
      testMatch: ['<rootDir>/test/security/hostile-lessee/**/*.spec.ts'],
      globalSetup: '<rootDir>/test/security/hostile-lessee/setup.ts',
      globalTeardown: '<rootDir>/test/security/hostile-lessee/teardown.ts',
    },
    {
      ...shared,
      displayName: 'captured',
      testMatch: ['<rootDir>/test/security/captured-service/**/*.spec.ts'],
      globalSetup: '<rootDir>/test/security/captured-service/setup.ts',
      globalTeardown: '<rootDir>/test/security/captured-service/teardown.ts',
    },
  ],
};
