import { defineConfig, type ViteUserConfig } from "vitest/config";

const config: ViteUserConfig = defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    // Suites of their own: `npm run test:pytorch`, `npm run test:web`.
    exclude: ["test/pytorch/**", "test/web/**", "**/node_modules/**"],
    setupFiles: ["test/support/seed-properties.ts"],
    reporters: ["dot", "./test/closing-line-reporter.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
  },
});

export default config;
