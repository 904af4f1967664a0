import type { OfflineReport } from "./conclude.ts";

const words = { passed: "ok", failed: "WRONG", incomplete: "OPEN", not_made: "-" } as const;

/** The report as a person reads it. What stands in a bundle is printed with its control characters written out. */
export function reportLines(report: OfflineReport): readonly string[] {
  const lines = report.checks.flatMap(({ name, status, detail, findings }) => [
    `${words[status].padEnd(5)}  ${name.padEnd(11)}  ${plain(detail)}`,
    ...findings.slice(0, 10).map(({ code, where, message }) => `         ${code}  ${plain(where)}: ${plain(message)}`),
    ...(findings.length > 10 ? [`         … and ${findings.length - 10} more (--json has them)`] : []),
  ]);
  return [
    ...lines,
    "",
    ...report.notProven.map((what, place) => `${place === 0 ? "NOT PROVEN" : "          "}   ${plain(what)}`),
    "",
    `RESULT       ${report.verdict.toUpperCase()}`,
  ];
}

/** 0 verified, 1 refuted, 2 incomplete. */
export function exitCodeOf({ verdict }: Pick<OfflineReport, "verdict">): 0 | 1 | 2 {
  return verdict === "verified" ? 0 : verdict === "refuted" ? 1 : 2;
}

function plain(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16) ?? ""}}`,
  );
}
