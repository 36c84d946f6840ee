import { defineConfig, type ViteUserConfig } from "vitest/config";

/** The page in a real browser: `npm run test:web`. */
const config: ViteUserConfig = defineConfig({
  test: {
    globalSetup: ["test/web/build.ts"],
    include: ["test/web/**/*.test.ts"],
    reporters: ["dot", "./test/closing-line-reporter.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // One browser at a time: what is measured (frozen frames) should not be the neighbour's.
    maxWorkers: 1,
    // A browser on a loaded machine now and then paints or answers too late; a fault of the page fails twice.
    retry: 1,
  },
});

export default config;
