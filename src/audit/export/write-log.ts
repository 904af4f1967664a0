import type { LedgerExcerpt, RunEvidence } from "../../core/run-record.ts";
import { parseCheckpoint, parseNote } from "../../ledger/proof/index.ts";
import type { LogSection } from "../offline/index.ts";
import type { BundleFolder } from "./bundle-folder.ts";
import type { BundleSource, ExportOptions, Fetched } from "./bundle-source.ts";
import { besideRuns, cosignedOver, entriesIn, sizeOf } from "./fetch-runs.ts";

export async function selectedLog(
  source: BundleSource,
  folder: BundleFolder,
  log: string,
  runs: readonly Fetched[],
  options: ExportOptions,
): Promise<LogSection> {
  const note = runs[0]?.ledger.checkpoint ?? "";
  const byIndex = new Map<number, LedgerExcerpt["entries"][number]>();
  for (const { ledger, context } of runs)
    for (const entry of [...ledger.entries, ...besideRuns(ledger), ...context]) byIndex.set(entry.index, entry);
  const entries = [...byIndex.values()].toSorted((a, b) => a.index - b.index);
  const leaves = `logs/${log}/leaves`;
  await folder.lines(
    leaves,
    entries.map(({ leaf }) => leaf),
  );
  const proofs = await folder.json(`logs/${log}/proofs.json`, {
    v: 1,
    proofs: entries.map(({ index, proof }) => ({ index, path: proof ?? [] })),
  });
  return { ...(await headOf(source, folder, log, note, keptOf(runs, options))), leaves, coverage: "selected", proofs };
}

/** Undefined for the log of enrolments where there are none. */
export async function wholeLog(
  source: BundleSource,
  folder: BundleFolder,
  log: string,
  runs: readonly Fetched[],
  options: ExportOptions,
): Promise<LogSection>;
export async function wholeLog(
  source: BundleSource,
  folder: BundleFolder,
  log: string,
  runs: undefined,
  options: ExportOptions,
  atLeast: number,
): Promise<LogSection | undefined>;
export async function wholeLog(
  source: BundleSource,
  folder: BundleFolder,
  log: string,
  runs: readonly Fetched[] | undefined,
  options: ExportOptions,
  atLeast = 0,
): Promise<LogSection | undefined> {
  const note =
    runs?.[0]?.ledger.checkpoint ?? (await cosignedOver(source, log, atLeast)) ?? (await source.checkpoint(log));
  if (note === undefined) return undefined;
  const size = sizeOf(note);
  const leaves = `logs/${log}/leaves`;
  await folder.lines(
    leaves,
    counted(source.entries(log, size), size, (done) => options.onProgress(`log ${log}: ${done} of ${size}`)),
  );
  return { ...(await headOf(source, folder, log, note, keptOf(runs ?? [], options))), leaves, coverage: "full" };
}

async function* counted(
  lines: AsyncIterable<string>,
  size: number,
  tell: (done: number) => void,
): AsyncGenerator<string> {
  let done = 0;
  for await (const line of lines) {
    yield line;
    done += 1;
    if (done % 10_000 === 0 && done < size) tell(done);
  }
}

/** Older checkpoints to bring along: those on which calls were made that waited for witnesses, and those that the auditor kept. */
function keptOf(runs: readonly Fetched[], { pinned }: ExportOptions): readonly string[] {
  return [...runs.flatMap(({ ledger }) => (ledger.cosigned ?? []).map(({ note }) => note)), ...pinned];
}

async function headOf(source: BundleSource, folder: BundleFolder, log: string, note: string, notes: readonly string[]) {
  const { origin, size } = parseCheckpoint(parseNote(note).text);
  const checkpoint = await folder.text(`logs/${log}/checkpoint`, note);
  const old: LogSection["old"] = [];
  for (const older of notes) {
    const kept = parseCheckpoint(parseNote(older).text);
    if (kept.origin !== origin || kept.size >= size || old.some((one) => one.size === kept.size)) continue;
    const path = await source.consistency(log, kept.size, size);
    old.push({
      size: kept.size,
      checkpoint: await folder.text(`logs/${log}/old/${kept.size}.checkpoint`, older),
      consistency: await folder.json(`logs/${log}/old/${kept.size}.consistency.json`, {
        v: 1,
        from: kept.size,
        to: size,
        path,
      }),
    });
  }
  return { log, origin, checkpoint, old };
}

/** How many entries the log of enrolments had at least, by what the runs' entries say of it. */
export function enrolmentsSeen(runs: readonly RunEvidence[]): number {
  return entriesIn(runs).reduce((most, { leaf }) => {
    const { keysSize } = (JSON.parse(leaf) as { readonly facts: { readonly keysSize?: unknown } }).facts;
    return typeof keysSize === "number" ? Math.max(most, keysSize) : most;
  }, 0);
}
