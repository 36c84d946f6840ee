import { defineConfig, type ViteUserConfig } from "vitest/config";

/** Against real PyTorch: `npm run test:pytorch`. Slow to start, so it is a suite of its own. */
const config: ViteUserConfig = defineConfig({
  test: {
    include: ["test/pytorch/**/*.test.ts"],
    reporters: ["dot", "./test/closing-line-reporter.ts"],
    testTimeout: 300_000,
    hookTimeout: 300_000,
    maxWorkers: 1,
  },
});

export default config;
