import { defineConfig } from "vitest/config";

const postgres = "test/support/global-postgres.ts";
const temporal = "test/support/global-temporal.ts";
const bundle = "test/support/global-bundle.ts";

export default defineConfig({
  test: {
    // A process per file: servers, native runtimes and clocks of one file stay its own.
    pool: "forks",
    maxWorkers: 2,
    reporters: ["default", "./test/support/summary-reporter.ts"],
    projects: [
      // A busy machine must not make a red run: what hangs is caught all the same.
      {
        extends: true,
        test: { name: "unit", include: ["test/unit/**/*.test.ts"], testTimeout: 60_000, hookTimeout: 60_000 },
      },
      {
        extends: true,
        test: {
          name: "integration",
          include: ["test/integration/**/*.test.ts"],
          globalSetup: [postgres, temporal, bundle],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: { name: "replay", include: ["test/replay/**/*.test.ts"], testTimeout: 60_000, hookTimeout: 60_000 },
      },
      {
        extends: true,
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          globalSetup: [postgres, temporal, bundle],
          testTimeout: 180_000,
          hookTimeout: 180_000,
        },
      },
      {
        extends: true,
        test: {
          name: "faults",
          maxConcurrency: 4,
          include: ["test/faults/**/*.test.ts"],
          globalSetup: [postgres, temporal, bundle],
          testTimeout: 300_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
});
