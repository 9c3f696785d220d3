import { defineConfig } from 'vitest/config';

/** Tests of the library code run on the source; tests that start programs run the build in dist. */
const conditions = ['@latchkey/source', 'node'];
const project = (name: string, options: { readonly timeoutMs: number }) => ({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout: options.timeoutMs,
    hookTimeout: options.timeoutMs,
  },
});

export default defineConfig({
  test: {
    projects: [
      project('shared', { timeoutMs: 60_000 }),
      project('authority', { timeoutMs: 30_000 }),
      project('broker-plugin', { timeoutMs: 30_000 }),
      project('agent', { timeoutMs: 30_000 }),
      project('conformance', { timeoutMs: 60_000 }),
      project('security', { timeoutMs: 60_000 }),
      project('end-to-end', { timeoutMs: 120_000 }),
    ],
    coverage: {
      include: ['shared/src/**'],
      reporter: ['text-summary', 'text'],
      thresholds: { branches: 100, lines: 100, functions: 100 },
    },
  },
});
