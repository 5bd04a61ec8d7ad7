export default {
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '\\.ts$': '<rootDir>/test/support/strip-types.mjs' },
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  testTimeout: 60_000,
  maxWorkers: 2,
  globalSetup: '<rootDir>/test/support/mongod-setup.ts',
  globalTeardown: '<rootDir>/test/support/mongod-teardown.ts',
  reporters: ['default', '<rootDir>/test/support/closing-line.mjs'],
};
