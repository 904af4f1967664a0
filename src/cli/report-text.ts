import type { AuditReport } from "../audit/index.ts";
import { safe } from "./terminal.ts";
import type { Terminal } from "./terminal.ts";

/** `AuditReport` and the ledger's `LogReport` share this much. */
export type Report = {
  readonly verdict: AuditReport["verdict"];
  readonly checks: readonly {
    readonly name: string;
    readonly status: string;
    readonly detail: string;
    readonly problems?: readonly string[];
  }[];
};

export function printReport(terminal: Terminal, what: string, report: Report): void {
  terminal.say(`${what}: ${painted(report.verdict, terminal)}`);
  for (const check of report.checks) {
    terminal.say(
      `  ${painted(check.status, terminal)} ${check.name}${check.detail === "" ? "" : `: ${safe(check.detail)}`}`,
    );
    for (const problem of check.problems ?? []) terminal.say(`    ${safe(problem)}`);
  }
}

function painted(status: string, { colors }: Terminal): string {
  if (status === "passed" || status === "verified") return colors.green(status);
  if (status === "erased") return colors.yellow("ERASED");
  return status === "failed" || status === "refuted" ? colors.red(status) : colors.yellow(status);
}

/**
 * Evidence that is refuted or incomplete is not evidence: both end in 1, and the verdict says which. At least one report: of nothing, nothing
 * was verified.
 */
export function concludeReports(terminal: Terminal, reports: readonly [Report, ...Report[]], document: object): void {
  const has = (verdict: Report["verdict"]) => reports.some((report) => report.verdict === verdict);
  const verdict = has("refuted") ? "refuted" : has("incomplete") ? "incomplete" : "verified";
  terminal.result({ verdict, ...document });
  if (verdict !== "verified") process.exitCode = 1;
}

/** With one more check that failed. */
export function refutedBy(report: Report, name: string, problems: readonly string[]): Report {
  if (problems.length === 0) return report;
  return {
    ...report,
    verdict: "refuted",
    checks: [...report.checks, { name, status: "failed", detail: "", problems }],
  };
}

export function isSome<Item>(items: readonly Item[]): items is readonly [Item, ...Item[]] {
  return items.length > 0;
}
