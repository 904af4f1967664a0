import type { LoadedRun } from "./check-run.ts";
import type { BundleFiles } from "./files.ts";
import type { Findings } from "./findings.ts";
import type { LogFound } from "./logs.ts";
import { reportPage, reportVersion } from "./report-page.ts";

/** The page that people read shows what the bundle holds: it is made again. False where it was not: another version made it. */
export function checkReport(
  files: BundleFiles,
  unlisted: readonly string[],
  logs: readonly LogFound[],
  runs: readonly LoadedRun[],
  findings: Findings,
): boolean {
  const { manifest } = files;
  // Whoever opens the folder takes any page in it for the bundle's own.
  for (const path of [...Object.keys(manifest.files), ...unlisted])
    if (path !== manifest.report && /\.x?html?$/i.test(path)) findings.add("report", "page_unlisted", path);
  if (manifest.report === undefined) return false;
  const page = files.text(manifest.report);
  if (page === undefined || !isOfThisVersion(page)) return false;
  let again: string | undefined;
  try {
    again = reportPage(manifest, logs, runs);
  } catch {
    // A page of what cannot be shown is not what the bundle holds either.
  }
  if (again !== page) findings.add("report", "report_differs", manifest.report);
  return true;
}

function isOfThisVersion(page: string): boolean {
  const generator = /<meta name="generator" content="countersign report ([^"]*)"/.exec(page)?.[1];
  // A page that says nothing of its version is none of ours.
  return generator === undefined || generator === reportVersion;
}
