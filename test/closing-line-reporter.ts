/**
 * @file Ends a run with `N passed, N failed, N skipped` alone on the last line, for build servers that read it.
 *
 * A file or suite that could not be collected and an error outside every test count as one failure each; a run in
 * which no test was executed exits with 1, because a run that tested nothing must not look like a success.
 */

import type { SerializedError, TestModule } from "vitest/node";
import type { Reporter } from "vitest/reporters";

export interface RunCounts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** Counts of a finished run; `outside` is the number of errors that belong to no test. */
export function countRun(modules: readonly TestModule[], outside: number): RunCounts {
  let passed = 0;
  let failed = outside;
  let skipped = 0;
  for (const module of modules) {
    failed += module.errors().length;
    for (const suite of module.children.allSuites()) failed += suite.errors().length;
    for (const test of module.children.allTests()) {
      const { state } = test.result();
      if (state === "passed") passed++;
      else if (state === "failed") failed++;
      else skipped++;
    }
  }
  return { passed, failed, skipped };
}

/** The line itself. */
export function formatClosingLine(counts: RunCounts): string {
  return `${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`;
}

export default class ClosingLineReporter implements Reporter {
  #counts: RunCounts | undefined;

  onInit(): void {
    // Other reporters and Vitest itself may still write after `onTestRunEnd`; nothing writes after `exit`.
    process.once("exit", () => {
      if (this.#counts !== undefined) process.stdout.write(`${formatClosingLine(this.#counts)}\n`);
    });
  }

  onTestRunEnd(modules: readonly TestModule[], errors: readonly SerializedError[]): void {
    this.#counts = countRun(modules, errors.length);
    if (this.#counts.failed > 0 || this.#counts.passed === 0) process.exitCode = 1;
  }
}
