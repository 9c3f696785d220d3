import { defineConfig } from 'vitest/config';

/** Tests of the library code run on the source; tests that start programs run the build in dist. */
const conditions = ['@latchkey/source', 'node'];
const project = (
  name: string,
  options: {
    readonly timeoutMs: number;
    /** Whose tests to run; default: those in the folder of this name. */
    readonly folder?: string;
    readonly exclude?: readonly string[];
    readonly alias?: Readonly<Record<string, string>>;
  },
) => ({
  resolve: { conditions, alias: options.alias ?? {} },
  ssr: { resolve: { conditions } },
  test: {
    name,
    include: [`test/${options.folder ?? name}/**/*.test.ts`],
    exclude: [...(options.exclude ?? [])],
    testTimeout: options.timeoutMs,
    hookTimeout: options.timeoutMs,
  },
});

export default defineConfig({
  test: {
    projects: [
      project('shared', { timeoutMs: 60_000 }),
      project('authority', { timeoutMs: 30_000 }),
      project('broker-plugin', { timeoutMs: 30_000, exclude: ['test/broker-plugin/mqtt-5/**'] }),
      // The same tests, and those of MQTT 5, on Aedes 2; a program runs on the Aedes it was built with,
      // and trust knows no Aedes.
      project('broker-plugin-aedes-2', {
        timeoutMs: 30_000,
        folder: 'broker-plugin',
        exclude: ['test/broker-plugin/latchkey-broker.test.ts', 'test/broker-plugin/trust/**'],
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
