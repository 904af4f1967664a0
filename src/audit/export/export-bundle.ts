import type { Json } from "../../core/json.ts";
import {
  BundleFiles,
  enrolmentLog,
  evidenceFormat,
  EvidenceError,
  Findings,
  parseTrust,
  readBundle,
  saltedContents,
  trustFormat,
} from "../offline/index.ts";
import type { LogSection, Manifest, RunSection } from "../offline/index.ts";
import { BundleFolder } from "./bundle-folder.ts";
import type { BundleSource, ExportOptions } from "./bundle-source.ts";
import { fetchRuns } from "./fetch-runs.ts";
import { enrolmentsSeen, selectedLog, wholeLog } from "./write-log.ts";
import { writeRun } from "./write-run.ts";

export type Exported = {
  readonly directory: string;
  readonly runs: number;
  readonly entries: number;
  readonly files: number;
};

/**
 * Writes an evidence bundle: as a whole, or not at all. Throws `bundle_exists`, `bundle_unwritable`, `bundle_unreadable` where a run is
 * open or not signed yet, and what the source throws.
 */
export async function exportBundle(source: BundleSource, options: ExportOptions): Promise<Exported> {
  const folder = await BundleFolder.begin(options.directory, options.force);
  try {
    const runs = await fetchRuns(source, options);
    const teams = [...new Set(runs.map(({ run }) => run.team))].toSorted();
    const logs: LogSection[] = [];
    for (const team of teams) {
      const own = runs.filter(({ run }) => run.team === team);
      logs.push(
        options.wholeLogs
          ? await wholeLog(source, folder, team, own, options)
          : await selectedLog(source, folder, team, own, options),
      );
    }
    const people = teams.includes(enrolmentLog)
      ? undefined
      : await wholeLog(source, folder, enrolmentLog, undefined, options, enrolmentsSeen(runs));
    const sections: RunSection[] = [];
    for (const run of runs) sections.push(await writeRun(source, folder, run, options));
    const manifest: Manifest = {
      format: evidenceFormat,
      generator: options.generator,
      createdAt: options.now.toISOString(),
      ...(options.about === undefined ? {} : { case: options.about }),
      needs: runs.some(({ run }) => run.dataKey !== undefined) ? [saltedContents] : [],
      extra: {},
      contents: options.contents ? "included" : "withheld",
      logs: people === undefined ? logs : [...logs, people],
      runs: sections,
      files: folder.files,
    };
    options.onProgress("report");
    await writeReport(folder, manifest);
    const entries = runs.reduce((sum, { ledger }) => sum + ledger.entries.length, 0);
    return { directory: await folder.finish(), runs: runs.length, entries, files: Object.keys(folder.files).length };
  } catch (error) {
    await folder.discard();
    throw error;
  }
}

/** The page is made from the bundle as a verifier reads it. */
async function writeReport(folder: BundleFolder, manifest: Manifest): Promise<void> {
  const full = { ...manifest, report: "report.html" };
  await folder.manifest(full as unknown as Json);
  const findings = new Findings();
  const files = BundleFiles.open(folder.path, findings, true);
  if (files === undefined) throw new EvidenceError("bundle_unwritable", "the manifest that was written cannot be read");
  const nobody = parseTrust(JSON.stringify({ format: trustFormat, logs: {}, approvers: [] }));
  await folder.text("report.html", readBundle(files, nobody, findings));
  await folder.manifest(full as unknown as Json);
}
