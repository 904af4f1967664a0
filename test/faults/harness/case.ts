import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { parseTrust, trustFormat, trustText, verifyEvidence } from "../../../src/audit/offline/index.ts";
import type { OfflineReport } from "../../../src/audit/offline/index.ts";
import type { Fault, FaultPoint } from "../../../src/faults/index.ts";
import type { ChildRole } from "./child.ts";
import { gather, recordsOf, untilQuiet, watchLogs } from "./facts.ts";
import { disturb } from "./disturbances.ts";
import type { Disturbance } from "./disturbances.ts";
import type { Facts, Outage } from "./facts.ts";
import { checkInvariants } from "./invariants.ts";
import type { Invariant } from "./invariants.ts";
import { poll } from "./lab.ts";
import type { Lab } from "./lab.ts";
import { runOnce } from "./processes.ts";
import type { Errand } from "./prompts.ts";
import { expectedEffects, insist, peopleAtWork, startRuns, untilClosed } from "./scenario.ts";
import type { Progress, StartedRun } from "./scenario.ts";
import { logs, openWorld, originOf } from "./world.ts";
import type { Team, World } from "./world.ts";

export const firstWave: readonly (readonly [Team, Errand])[] = [
  ["alpha", "pay"],
  ["alpha", "big"],
  ["alpha", "shout"],
  ["alpha", "broken"],
  ["beta", "many"],
  ["beta", "declined"],
  ["beta", "witnessed"],
];
/** Of a case's two waves, the one after its faults. */
export const waveAfter = 2;
export const finalWave: readonly (readonly [Team, Errand])[] = [
  ["alpha", "big"],
  ["beta", "pay"],
  ["beta", "shout"],
];
const openWithinMs = 120_000;
/** A busy machine starts many processes at once. */
const startWithinMs = 180_000;
const roles: readonly ChildRole[] = ["server", "worker", "export", "rotate"];

export type CaseResult = {
  readonly name: string;
  readonly faults: readonly Fault[];
  /** Those that happened. */
  readonly struck: readonly Fault[];
  readonly hits: ReadonlyMap<FaultPoint, number>;
  /** What is wrong, by invariant. */
  readonly problems: readonly { readonly invariant: Invariant | "case"; readonly problem: string }[];
  readonly effects: number;
  readonly ms: number;
};

export type CaseOptions = {
  readonly name: string;
  readonly faults: readonly Fault[];
  /** What happens around the processes while the first runs are under way. */
  readonly disturbances?: readonly Disturbance[];
  /** Given everything before it is judged: for tests that plant something. */
  readonly onFacts?: (facts: Facts) => void;
  readonly timeoutMs?: number;
};

/** Another world may have taken Postgres away just now. */
export async function opened(lab: Lab, faults: readonly Fault[]): Promise<World> {
  const world = await poll(() => openWorld(lab, faults), openWithinMs, 1_000);
  if (world === undefined) throw new Error("no world could be opened");
  return world;
}

/** One world, its faults, and everything that has to hold after them. What goes wrong in it is a problem of the case. */
export async function runCase(lab: Lab, options: CaseOptions): Promise<CaseResult> {
  const begun = Date.now();
  const world = await opened(lab, options.faults);
  let facts: Facts | undefined;
  const problems: { invariant: Invariant | "case"; problem: string }[] = [];
  try {
    facts = await play(lab, world, options, (problem) => problems.push({ invariant: "case", problem }));
    options.onFacts?.(facts);
    for (const [invariant, found] of Object.entries(judge(facts, waveAfter)))
      for (const problem of found) problems.push({ invariant: invariant as Invariant, problem });
  } catch (error) {
    problems.push({ invariant: "case", problem: wordsOf(error) });
  } finally {
    await world.close();
  }
  return {
    name: options.name,
    faults: options.faults,
    ...noted(world, options.faults),
    problems,
    effects: facts?.calls.filter(({ effect }) => effect).length ?? 0,
    ms: Date.now() - begun,
  };
}

/** What its processes noted since they were armed. */
export function noted(world: World, faults: readonly Fault[]): Pick<CaseResult, "hits" | "struck"> {
  const logsOfRoles = roles.map((role) => world.logOf(role));
  const hits = new Map<FaultPoint, number>();
  for (const log of logsOfRoles)
    for (const [point, count] of log.hits()) hits.set(point, (hits.get(point) ?? 0) + count);
  return { hits, struck: faults.filter((fault) => logsOfRoles.some((log) => log.struck().includes(fault))) };
}

/**
 * While faults strike, a call may end before it reaches its tool, and a person then finds that it did not happen: half of what was asked for has to
 * be done then. Afterwards, in `finalWave`, all of it.
 */
export function judge(facts: Facts, finalWave: number) {
  const during = expectedEffects(facts.started.filter(({ wave }) => wave < finalWave));
  const after = expectedEffects(facts.started.filter(({ wave }) => wave === finalWave));
  return checkInvariants(facts, { effects: Math.ceil(during / 2) + after, finalWave });
}

export function wordsOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

async function play(lab: Lab, world: World, options: CaseOptions, complain: (problem: string) => void): Promise<Facts> {
  const timeoutMs = options.timeoutMs ?? 300_000;
  const progress: Progress = { runs: [], acknowledged: [] };
  const outages: Outage[] = [];
  const watched = watchLogs(world);
  const people = peopleAtWork(world, progress);
  try {
    await insist(() => world.operator.whoAmI({}), startWithinMs);
    const [first] = await Promise.all([
      startRuns(world, progress, 1, firstWave),
      disturb(lab, world, options.disturbances ?? [], outages),
    ]);
    await closedOrComplain(world, first, timeoutMs, complain);
    if (options.faults.some(({ point }) => point === "key.file" || point === "ledger.key")) await rotate(world);
    const last = await startRuns(world, progress, waveAfter, finalWave);
    await closedOrComplain(world, last, timeoutMs, complain);
  } finally {
    await people.stop();
  }
  await settled(world, progress.runs, complain);
  return allOf(lab, world, { progress, outages, watched, complain });
}

/** Reads everything, from the records to an export, once nothing moves any more. */
export async function allOf(
  lab: Lab,
  world: World,
  seen: {
    readonly progress: Progress;
    readonly outages: readonly Outage[];
    readonly watched: ReturnType<typeof watchLogs>;
    readonly complain: (problem: string) => void;
  },
): Promise<Facts> {
  const { progress, outages, watched, complain } = seen;
  const records = await recordsOf(world, progress.runs);
  const bundle = await exported(world, progress.runs, complain);
  // Reading and exporting leave entries too.
  await settled(world, progress.runs, complain);
  await watched.stop();
  const code = await readFile(lab.bundle, "utf8");
  return gather(lab, world, {
    started: progress.runs,
    acknowledged: progress.acknowledged,
    outages: [...lab.outages, ...outages],
    bundle,
    watched,
    records,
    code,
  });
}

export async function settled(
  world: World,
  runs: readonly StartedRun[],
  complain: (problem: string) => void,
): Promise<void> {
  if (!(await untilQuiet(world, runs, 120_000))) complain("the ledger has not taken everything in within 120 s");
}

export async function closedOrComplain(
  world: World,
  runs: readonly StartedRun[],
  timeoutMs: number,
  complain: (problem: string) => void,
): Promise<void> {
  const open = await untilClosed(world, runs, timeoutMs);
  if (open.length > 0)
    complain(`not closed within ${timeoutMs / 1_000} s: ${open.map(({ errand, id }) => `${errand} ${id}`).join(", ")}`);
}

/** A new key, made by a process that may be killed while it does, and servers that sign with both from then on. */
async function rotate(world: World): Promise<void> {
  const log = world.logOf("rotate");
  if (!(await runOnce(world.optionsOf("rotate"), log))) await runOnce(world.optionsOf("rotate"), log);
  world.server.signal("SIGTERM");
  await insist(() => world.operator.whoAmI({}), startWithinMs);
}

/** The export, again until it is done; a folder that is there without having been finished is looked at in between. */
export async function exported(
  world: World,
  runs: readonly StartedRun[],
  complain: (problem: string) => void,
  name = "evidence",
): Promise<OfflineReport | undefined> {
  const folder = join(world.home, name);
  const options = { ...world.optionsOf("export"), bundleFolder: folder, runs: runs.map(({ id }) => id) };
  for (let attempt = 1; attempt <= 4; attempt += 1) {
    const done = await runOnce(options, world.logOf("export"));
    if (done) return verify(world, folder);
    // Killed half-way, it is not there at all; or it is whole.
    const half = existsSync(folder) ? verify(world, folder) : undefined;
    if (half !== undefined && half.verdict !== "verified") complain(`half an export was left: ${half.verdict}`);
  }
  complain("the evidence could not be exported in four attempts");
  return undefined;
}

/** With the keys that the auditor has known from the beginning: while two are in use, the older one has to do. */
function verify(world: World, directory: string): OfflineReport {
  const keysOf = (log: string) => world.signers(originOf(log)).map(({ verifierKey }) => verifierKey);
  const trust = parseTrust(
    trustText({
      format: trustFormat,
      logs: Object.fromEntries(logs.map((log) => [log, { verifierKeys: keysOf(log) }])),
      approvers: world.reviewers.map(({ id, key }) => ({
        principal: id,
        keyId: key.keyId,
        publicKey: key.publicKey,
        groups: ["treasury"],
      })),
      // For the calls that had to wait for it: other checkpoints need not have been cosigned yet.
      witnesses: { keys: [world.witness.verifierKey], quorum: 0 },
    }),
  );
  return verifyEvidence({ directory, trust, pinned: [] });
}
