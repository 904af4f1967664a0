import { peopleLog } from "../../core/ids.ts";
import type { RunId } from "../../core/ids.ts";
import type { RunRecord } from "../../core/run-record.ts";
import type { Checkpoint } from "../../ledger/index.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { checkpointOf, leavesOf } from "../evidence-source.ts";
import { logsKnown, trustIn } from "../known-logs.ts";
import { readText } from "../read-text.ts";
import { concludeReports, isSome, printReport, refutedBy } from "../report-text.ts";
import type { Report } from "../report-text.ts";

export type VerifyFlags = {
  readonly log?: string;
  readonly verifierKey?: string;
  readonly witness: readonly string[];
  readonly pinned: readonly string[];
};

/** Runs in the signed ledger, or whole logs. What was verified is remembered, and has to be there the next time. */
export async function verify(cli: Cli, runs: readonly RunId[], flags: VerifyFlags): Promise<void> {
  const pins = await pinsOf(flags.pinned);
  return runs.length === 0 ? verifyLogs(cli, flags, pins) : verifyRuns(cli, runs, flags, pins);
}

type Pin = { readonly file: string; readonly checkpoint: Checkpoint; used: boolean };

async function pinsOf(files: readonly string[]): Promise<readonly Pin[]> {
  const { parsePin } = await import("../../audit/offline/index.ts");
  return files.map((file) => ({ file, checkpoint: parsePin(readText(file), file).checkpoint, used: false }));
}

/** A checkpoint that was brought and not looked at must not pass for one that was. */
function assertUsed(pins: readonly Pin[]): void {
  const unused = pins.find(({ used }) => !used);
  if (unused === undefined) return;
  const { file, checkpoint } = unused;
  throw new CliError("usage", `\`${file}\` is a checkpoint of \`${checkpoint.origin}\`, which was not looked at`, {
    hint: "give the log that it is of: --log TEAM",
  });
}

function pinnedFor(pins: readonly Pin[], verifierKey: string): readonly Checkpoint[] {
  const origin = verifierKey.split("+")[0];
  const own = pins.filter(({ checkpoint }) => checkpoint.origin === origin);
  for (const pin of own) pin.used = true;
  return own.map(({ checkpoint }) => checkpoint);
}

async function verifyRuns(cli: Cli, runs: readonly RunId[], flags: VerifyFlags, pins: readonly Pin[]): Promise<void> {
  const { verifyRun } = await import("../../audit/index.ts");
  const reports: (Report & { run: RunId })[] = [];
  for (const run of runs) {
    const record = await cli.client.runRecord({ params: { run } });
    const { verifierKey } = await trustIn(cli, flags.log ?? record.run.team, flags.verifierKey);
    const report = verifyRun(record, verifierKey, flags.witness);
    const problems = await growthOf(cli, record, verifierKey, pins);
    reports.push({ run, ...refutedBy(report, "growth", problems) });
    printReport(cli.terminal, run, { ...refutedBy(report, "growth", problems) });
  }
  assertUsed(pins);
  if (isSome(reports)) concludeReports(cli.terminal, reports, { runs: reports });
}

/** What the record's checkpoints, of the run's log and of the log of people, have against what is known of those logs. */
async function growthOf(
  cli: Cli,
  record: RunRecord,
  verifierKey: string,
  pins: readonly Pin[],
): Promise<readonly string[]> {
  const { peopleKeyOf } = await import("../../audit/index.ts");
  const notes = [
    { log: record.run.team, key: verifierKey, note: record.ledger.checkpoint },
    { log: peopleLog, key: peopleKeyOf(verifierKey), note: record.keys?.checkpoint ?? null },
  ];
  const problems: string[] = [];
  for (const { log, key, note } of notes) {
    // What is not signed is told by the report already, and is not remembered.
    if (note === null || !(await isSignedBy(note, key))) continue;
    const trust = await trustIn(cli, log, key);
    problems.push(...(await trust.follow(note, pinnedFor(pins, key))).map((problem) => `log ${log}: ${problem}`));
  }
  return problems;
}

async function isSignedBy(note: string, verifierKey: string): Promise<boolean> {
  const { openCheckpoint, parseVerifierKey, ProofError } = await import("../../ledger/proof/index.ts");
  try {
    openCheckpoint(note, parseVerifierKey(verifierKey));
    return true;
  } catch (error) {
    if (error instanceof ProofError) return false;
    throw error;
  }
}

async function verifyLogs(cli: Cli, flags: VerifyFlags, pins: readonly Pin[]): Promise<void> {
  const { verifyLog } = await import("../../ledger/proof/index.ts");
  const logs = flags.log === undefined ? await signedLogs(cli, flags) : [flags.log];
  const reports: (Report & { log: string; entries: number })[] = [];
  for (const log of logs) {
    const checkpoint = await checkpointOf(cli.client, log);
    if (checkpoint === undefined) {
      const problem = "the server shows no checkpoint of it";
      const gone: Report = { verdict: logsKnown(cli).includes(log) ? "refuted" : "incomplete", checks: [] };
      const told: Report = {
        ...gone,
        checks: [{ name: "signature", status: "failed", detail: "", problems: [problem] }],
      };
      reports.push({ log, entries: 0, ...told });
      printReport(cli.terminal, `log ${log}`, told);
      continue;
    }
    const trust = await trustIn(cli, log, flags.verifierKey);
    const size = Number(checkpoint.split("\n")[1]);
    const report = await verifyLog({
      entries: bytesOf(leavesOf(cli.client, log, size)),
      checkpoint,
      verifierKey: trust.verifierKey,
      pinned: trust.remembered,
    });
    const pinned = pinnedFor(pins, trust.verifierKey);
    const problems = report.verdict === "verified" ? await trust.follow(checkpoint, pinned) : [];
    const told = refutedBy(report, "growth", problems);
    reports.push({ log, entries: report.entries, verdict: told.verdict, checks: told.checks });
    printReport(cli.terminal, `log ${log}`, told);
  }
  assertUsed(pins);
  if (isSome(reports)) concludeReports(cli.terminal, reports, { logs: reports });
}

/** Every log that the server has, that of people too, and those that it had when they were verified here before. */
async function signedLogs(cli: Cli, flags: VerifyFlags): Promise<readonly string[]> {
  const { logs } = await cli.client.listLogs({});
  const signed = logs.filter((head) => head.signed > 0).map(({ log }) => log);
  const found = [...new Set([...signed, ...logsKnown(cli)])].toSorted();
  if (found.length === 0) {
    throw new CliError("usage", "there is no log to verify: nothing has been signed yet", {
      hint: "register an agent, and its team's log begins",
    });
  }
  if (flags.verifierKey !== undefined && found.length > 1) {
    throw new CliError("usage", "--verifier-key is of one log: name it with --log", {
      hint: `there are ${found.join(", ")}`,
    });
  }
  return found;
}

async function* bytesOf(leaves: AsyncIterable<string>): AsyncGenerator<Uint8Array> {
  for await (const leaf of leaves) yield Buffer.from(leaf, "utf8");
}
