import { setTimeout as sleep } from "node:timers/promises";

import type { Digest, RunId } from "../../core/ids.ts";
import type { Json } from "../../core/json.ts";
import type { LedgerExcerpt, RunEvidence, RunRecord } from "../../core/run-record.ts";
import { parseCheckpoint, parseNote } from "../../ledger/proof/index.ts";
import { BundleFolder } from "./bundle-folder.ts";
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
import { lostExecutions } from "../replay/losses.ts";
import type { LogSection, Manifest, RunSection } from "../offline/index.ts";

/** Where a bundle's parts come from: a server's API, or a test's own. */
export type BundleSource = {
  /** Proofs lead to the checkpoint of `size`. */
  evidence(run: RunId, size?: number): Promise<RunEvidence>;
  /** Each call is recorded as a read of contents. */
  contents(run: RunId): Promise<Contents>;
  /** The latest signed note, or undefined where nothing was signed. */
  checkpoint(log: string): Promise<string | undefined>;
  /** The newest note that a quorum of the log's witnesses cosigned; where there is none, the latest. */
  cosigned(log: string): Promise<string | undefined>;
  /** The leaves of the log's first `size` entries. */
  entries(log: string, size: number): AsyncIterable<string>;
  consistency(log: string, from: number, to: number): Promise<readonly string[]>;
  code(digest: Digest): Promise<string>;
};

export type ExportOptions = {
  /** Closed runs, each once. */
  readonly runs: readonly RunId[];
  readonly directory: string;
  readonly force: boolean;
  readonly contents: boolean;
  /** Every leaf of each run's log, instead of the runs' own with their proofs. */
  readonly wholeLogs: boolean;
  /** Also the workflow code that the runs ran. */
  readonly code: boolean;
  readonly about: Manifest["case"];
  /** Signed notes that the auditor kept: the bundle will show that the logs grew out of them. */
  readonly pinned: readonly string[];
  readonly generator: Manifest["generator"];
  readonly now: Date;
  /** Of runs that were selected, and not named one by one: whether this one, which could not be read, is left out. Else the export fails. */
  readonly leaveOut?: (run: RunId, error: unknown) => boolean;
  readonly onProgress: (line: string) => void;
};

export type Exported = {
  readonly directory: string;
  readonly runs: number;
  readonly entries: number;
  readonly files: number;
};

/** How often a log is looked at again until it has signed all that its closed runs entered. */
const looks = 20;
const pauseMs = 250;

type Fetched = RunEvidence & { readonly contents: Contents | undefined };
type Contents = Pick<RunRecord, "input" | "payloads" | "salt">;

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

/** All runs of a log with proofs to one checkpoint, which covers every entry of theirs. Throws the last error where none can be read. */
async function fetchRuns(source: BundleSource, options: ExportOptions): Promise<readonly Fetched[]> {
  const sizes = new Map<string, number>();
  const runs: Fetched[] = [];
  let failed: { readonly error: unknown } | undefined;
  const fetched = async (run: RunId, work: () => Promise<Fetched>): Promise<readonly Fetched[]> => {
    try {
      return [await work()];
    } catch (error) {
      if (options.leaveOut?.(run, error) !== true) throw error;
      failed = { error };
      return [];
    }
  };
  for (const [place, run] of options.runs.entries()) {
    options.onProgress(`run ${place + 1} of ${options.runs.length}`);
    const work = async (): Promise<Fetched> => {
      // First, so that the checkpoint covers the entry that tells of this reading.
      const contents = options.contents ? await source.contents(run) : undefined;
      return { ...(await covered(source, run, sizes)), contents };
    };
    runs.push(...(await fetched(run, work)));
  }
  for (const [team, size] of sizes) {
    const own = runs.filter(({ run }) => run.team === team);
    const note = await cosignedOver(source, team, size, coveringSize(own));
    if (note !== undefined) sizes.set(team, sizeOf(note));
  }
  const whole: Fetched[] = [];
  for (const found of runs) {
    const { run, ledger, contents } = found;
    // A later run may have needed a later checkpoint than the ones before it, and witnesses may have cosigned an earlier one.
    const size = sizes.get(run.team) ?? 0;
    const again = async (): Promise<Fetched> => {
      const evidence = await source.evidence(run.id, size);
      if (!isCoveredWhole(evidence)) throw notSigned(run.id);
      return { ...evidence, contents };
    };
    whole.push(...(sizeOf(ledger.checkpoint) === size ? [found] : await fetched(run.id, again)));
  }
  if (whole.length === 0 && failed !== undefined) throw failed.error;
  return whole;
}

async function covered(source: BundleSource, run: RunId, sizes: Map<string, number>): Promise<RunEvidence> {
  let size: number | undefined;
  for (let look = 1; look <= looks; look += 1) {
    const evidence = await source.evidence(run, size);
    const { team, closedAt } = evidence.run;
    if (closedAt === null) {
      throw new EvidenceError("bundle_unreadable", `run \`${run}\` is still at work`, {
        hint: `wait for it (countersign run watch ${run}), or cancel it`,
      });
    }
    const known = sizes.get(team) ?? 0;
    const found = sizeOf(evidence.ledger.checkpoint);
    const whole = isCoveredWhole(evidence);
    const ended = hasEndedIn(evidence);
    if (whole && ended && found >= known) {
      sizes.set(team, found);
      return evidence;
    }
    size = found < known ? known : undefined;
    if (size === undefined) await sleep(pauseMs);
  }
  throw notSigned(run);
}

function notSigned(run: RunId): EvidenceError {
  const what = `not all of run \`${run}\` has been signed yet, or its history has not ended`;
  return new EvidenceError("bundle_unreadable", what, {
    hint: "try again in a moment; `countersign doctor` tells whether the servers are well",
  });
}

function isCoveredWhole({ ledger }: RunEvidence): boolean {
  const entries = [...ledger.entries, ...besideRuns(ledger)];
  return ledger.waiting === 0 && entries.every(({ proof }) => proof !== undefined);
}

/** The smallest tree that has all entries of the runs. */
function coveringSize(runs: readonly RunEvidence[]): number {
  return entriesIn(runs).reduce((most, { index }) => Math.max(most, index + 1), 0);
}

/**
 * The newest note that witnesses cosigned and that is of `size`: they need seconds. Where none comes, one of `least`; undefined where there is
 * none of that either. The latest is exported then, and a verifier that asks for witnesses says that they are missing.
 */
async function cosignedOver(
  source: BundleSource,
  log: string,
  size: number,
  least = size,
): Promise<string | undefined> {
  let note: string | undefined;
  for (let look = 1; look <= looks; look += 1) {
    note = await source.cosigned(log);
    if (note === undefined || sizeOf(note) >= size) return note;
    await sleep(pauseMs);
  }
  return note !== undefined && sizeOf(note) >= least ? note : undefined;
}

/** How many entries the log of enrolments had at least, by what the runs' entries say of it. */
function enrolmentsSeen(runs: readonly RunEvidence[]): number {
  return entriesIn(runs).reduce((most, { leaf }) => {
    const { keysSize } = (JSON.parse(leaf) as { readonly facts: { readonly keysSize?: unknown } }).facts;
    return typeof keysSize === "number" ? Math.max(most, keysSize) : most;
  }, 0);
}

function entriesIn(runs: readonly RunEvidence[]): LedgerExcerpt["entries"] {
  return runs.flatMap(({ ledger }) => [...ledger.entries, ...besideRuns(ledger)]);
}

/** A run is closed in the record moments before its workflow ends in Temporal. */
function hasEndedIn({ histories }: RunEvidence): boolean {
  if (lostExecutions({ histories }).length > 0) return true;
  const last = histories.at(-1)?.history as
    | { readonly events?: readonly { readonly eventType?: string }[] }
    | undefined;
  return (
    last === undefined ||
    /_(COMPLETED|FAILED|CANCELED|TERMINATED|TIMED_OUT)$/.test(last.events?.at(-1)?.eventType ?? "")
  );
}

function sizeOf(note: string | null): number {
  return note === null ? 0 : parseCheckpoint(parseNote(note).text).size;
}

/** A run's entries that are not in its own chain. */
function besideRuns({ seals = [], losses = [], grants = [], erasures = [] }: LedgerExcerpt): LedgerExcerpt["entries"] {
  return [...seals, ...losses, ...grants, ...erasures];
}

async function selectedLog(
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
async function wholeLog(
  source: BundleSource,
  folder: BundleFolder,
  log: string,
  runs: readonly Fetched[],
  options: ExportOptions,
): Promise<LogSection>;
async function wholeLog(
  source: BundleSource,
  folder: BundleFolder,
  log: string,
  runs: undefined,
  options: ExportOptions,
  atLeast: number,
): Promise<LogSection | undefined>;
async function wholeLog(
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

async function writeRun(
  source: BundleSource,
  folder: BundleFolder,
  run: Fetched,
  options: ExportOptions,
): Promise<RunSection> {
  const { id, team, workflowBundle } = run.run;
  const at = `runs/${id}`;
  const { v, steps, decisions, approvals, edits = [], resolutions = [], standingGrants = [] } = run;
  await folder.json(`releases/${run.run.release}.json`, run.release as unknown as Json);
  for (const [digest, document] of Object.entries(run.policySets))
    await folder.json(`policies/${digest}.json`, document);
  const salt = run.contents?.salt;
  // Erased contents are not there; whether an entry says so is for the verifier to see.
  if (run.contents !== undefined && (salt !== undefined || run.run.dataKey === undefined)) {
    await folder.json(`payloads/${run.run.input}.json`, run.contents.input as unknown as Json);
    for (const [digest, value] of Object.entries(run.contents.payloads))
      await folder.json(`payloads/${digest}.json`, value);
  }
  if (options.code && workflowBundle !== null && !folder.has(`code/${workflowBundle}.js`))
    await folder.text(`code/${workflowBundle}.js`, await source.code(workflowBundle));
  const histories: RunSection["histories"] = [];
  for (const [place, { temporalRunId, history }] of run.histories.entries())
    histories.push({ temporalRunId, file: await folder.json(`${at}/history-${place}.json`, history) });
  const record = await folder.json(`${at}/record.json`, {
    v,
    run: run.run,
    ...(salt === undefined ? {} : { salt }),
    steps,
    decisions,
    approvals,
    ...(edits.length === 0 ? {} : { edits }),
    ...(resolutions.length === 0 ? {} : { resolutions }),
    ...(standingGrants.length === 0 ? {} : { standingGrants }),
  } as unknown as Json);
  const statement =
    run.statement === null
      ? {}
      : { statement: await folder.json(`${at}/statement.dsse.json`, run.statement as unknown as Json) };
  return { run: id, log: team, record, histories, ...statement };
}
