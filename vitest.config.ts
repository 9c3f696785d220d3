import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

/** Tests of the library code run on the source; tests that start programs run the build in dist. */
const conditions = ['@latchkey/source', 'node'];
const project = (
  name: string,
  options: {
    readonly timeoutMs: number;
    /** Default: the tests in the folder of this name. */
    readonly include?: readonly string[];
    readonly exclude?: readonly string[];
    readonly alias?: Readonly<Record<string, string>>;
  },
) => ({
  resolve: { conditions, alias: options.alias ?? {} },
  ssr: { resolve: { conditions } },
  test: {
    name,
    include: [...(options.include ?? [`test/${name}/**/*.test.ts`])],
    exclude: [...(options.exclude ?? [])],
    testTimeout: options.timeoutMs,
    hookTimeout: options.timeoutMs,
  },
});

/**
 * Run a second time, with those of MQTT 5, on Aedes 2: the tests that have a broker in their own
 * process. A program runs on the Aedes it was built with.
 */
const TESTS_WITH_AEDES = readdirSync(join(import.meta.dirname, 'test/broker-plugin'), {
  encoding: 'utf8',
  recursive: true,
})
  .filter((name) => name.endsWith('.test.ts'))
  .map((name) => `test/broker-plugin/${name}`)
  .filter((file) =>
    /guarded-broker|from 'aedes'|startBroker/.test(
      readFileSync(join(import.meta.dirname, file), 'utf8'),
    ),
  );

export default defineConfig({
  test: {
    projects: [
      project('shared', { timeoutMs: 60_000 }),
      project('authority', { timeoutMs: 30_000 }),
      project('broker-plugin', { timeoutMs: 30_000, exclude: ['test/broker-plugin/mqtt-5/**'] }),
      project('broker-plugin-aedes-2', {
        timeoutMs: 30_000,
        include: TESTS_WITH_AEDES,
        alias: { aedes: 'aedes-2' },
      }),
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
