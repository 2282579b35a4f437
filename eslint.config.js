/**
 * Lint for the whole workspace. The import rules of docs/architecture.md are the `depConstraints` below; the boundary
 * rule needs Nx's project graph, so run it by `npm run lint`, which also checks that a forbidden import still fails
 * (test/lint-canary).
 */
import nx from '@nx/eslint-plugin';
import importX, { createNodeResolver } from 'eslint-plugin-import-x';
import tseslint from 'typescript-eslint';

const typescriptFiles = ['**/*.ts'];
const testFiles = ['**/*.spec.ts', '**/*.fixture.ts', 'test/**/*.ts'];

const onlyDependOn = (sourceTag, ...tags) => ({
  sourceTag: `type:${sourceTag}`,
  onlyDependOnLibsWithTags: tags.map((tag) => `type:${tag}`),
});

/**
 * Specs of a library may use what is built upon that library (the stack, the fakes). Nx takes that for a cycle of projects;
 * a real one can't hide behind this, because `tsc -b` refuses circular references.
 */
const specCycles = [
  'contracts',
  'domain',
  'tokens',
  'audit-log',
  'messaging',
  'postgres',
  'telemetry',
  'configuration',
  'service',
].flatMap((library) =>
  ['stack', 'testing'].map((builtUpon) => [`@mayfly/${library}`, `@mayfly/${builtUpon}`]),
);

const boundaries = (...more) => [
  onlyDependOn('contract', 'none', ...more),
  onlyDependOn('domain', 'contract', ...more),
  onlyDependOn('adapter', 'contract', 'domain', ...more),
  onlyDependOn('host', 'contract', 'domain', 'adapter', ...more),
  onlyDependOn('app', 'contract', 'domain', 'adapter', 'host', ...more),
  onlyDependOn('tooling', 'contract', 'domain', 'adapter', 'tooling', ...more),
  onlyDependOn('testing', 'contract', 'domain', 'adapter', 'tooling', 'testing'),
  onlyDependOn('test', 'contract', 'domain', 'adapter', 'tooling', 'testing'),
];

export default tseslint.config(
  { ignores: ['**/dist/**', '**/node_modules/**', '.nx/**', '.mayfly/**', 'test/lint-canary/**'] },
  {
    files: typescriptFiles,
    extends: [tseslint.configs.recommendedTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: {
      parserOptions: {
        projectService: { allowDefaultProject: [] },
        tsconfigRootDir: import.meta.dirname,
      },
    },
    plugins: { '@nx': nx, 'import-x': importX },
    rules: {
      'no-console': 'error',
      eqeqeq: 'error',
      '@nx/enforce-module-boundaries': [
        'error',
        { allow: [], depConstraints: boundaries(), ignoredCircularDependencies: specCycles },
      ],
      'import-x/no-cycle': ['error', { ignoreExternal: true }],
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/consistent-type-definitions': 'off',
      '@typescript-eslint/no-extraneous-class': 'off',
    },
    settings: {
      'import-x/resolver-next': [createNodeResolver({ extensions: ['.ts', '.js'] })],
      'import-x/parsers': { '@typescript-eslint/parser': ['.ts'] },
    },
  },
  {
    files: testFiles,
    // Linted as what its project says it is, not as a test.
    ignores: ['test/lint-canary/**'],
    languageOptions: { parserOptions: { projectService: false, project: './tsconfig.spec.json' } },
    rules: {
      '@nx/enforce-module-boundaries': [
        'error',
        {
          allow: [],
          depConstraints: boundaries('testing', 'tooling'),
          ignoredCircularDependencies: specCycles,
        },
      ],
      '@typescript-eslint/require-await': 'off',
    },
  },
  {
    // The one file of these tests that knows the provider: they attack it where no service is in between.
    files: ['test/security/hostile-lessee/provider-under-test.ts'],
    rules: {
      '@nx/enforce-module-boundaries': [
        'error',
        {
          allow: ['@mayfly/minting/providers/postgres'],
          depConstraints: boundaries('testing', 'tooling'),
          ignoredCircularDependencies: specCycles,
        },
      ],
    },
  },
  {
    files: ['apps/cli/**/*.ts', 'deploy/**/*.ts', 'test/bench/**/*.ts', 'libs/stack/**/*.ts'],
    rules: { 'no-console': 'off' },
  },
);
