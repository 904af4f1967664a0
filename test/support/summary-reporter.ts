import type { SerializedError } from "vitest";
import type { Reporter, TestModule } from "vitest/node";

/**
 * Ends the output with `N passed, N failed`, alone on the last line (`, N skipped` if any were). What fails outside a test
 * counts as one failure each: a file that does not load, a hook of a file or suite, an unhandled rejection.
 */
export default class SummaryReporter implements Reporter {
  private counts: Counts = { passed: 0, failed: 0, skipped: 0 };

  onInit(): void {
    // Written at exit, after every other reporter and the teardown of the servers.
    process.once("exit", (code) => {
      // A run may fail before its first test, in a global set-up for one.
      if (code !== 0 && this.counts.failed === 0) this.counts.failed = 1;
      process.stdout.write(`${summaryLine(this.counts)}\n`);
    });
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    this.counts = { passed: 0, failed: unhandled.length, skipped: 0 };
    for (const module of modules) countModule(module, this.counts);
  }
}

type Counts = { passed: number; failed: number; skipped: number };

function countModule(module: TestModule, counts: Counts): void {
  for (const test of module.children.allTests()) {
    const { state } = test.result();
    counts[state === "pending" ? "skipped" : state] += 1;
  }
  for (const suite of [module, ...module.children.allSuites()]) {
    if (suite.errors().length > 0) counts.failed += 1;
  }
}

export function summaryLine({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped === 0 ? "" : `, ${skipped} skipped`}`;
}
