import { setTimeout as sleep } from "node:timers/promises";

import type { RunId } from "../../core/ids.ts";
import type { LedgerExcerpt, RunEvidence } from "../../core/run-record.ts";
import { parseCheckpoint, parseNote } from "../../ledger/proof/index.ts";
import { EvidenceError } from "../offline/index.ts";
import { lostExecutions } from "../replay/losses.ts";
import type { BundleSource, ExportOptions, Fetched } from "./bundle-source.ts";

/** How often a log is looked at again until it has signed all that its closed runs entered. */
const looks = 20;
const pauseMs = 250;

/** All runs of a log with proofs to one checkpoint, which covers every entry of theirs. Throws the last error where none can be read. */
export async function fetchRuns(source: BundleSource, options: ExportOptions): Promise<readonly Fetched[]> {
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
export async function cosignedOver(
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

export function entriesIn(runs: readonly RunEvidence[]): LedgerExcerpt["entries"] {
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

export function sizeOf(note: string | null): number {
  return note === null ? 0 : parseCheckpoint(parseNote(note).text).size;
}

/** A run's entries that are not in its own chain. */
export function besideRuns({
  seals = [],
  losses = [],
  grants = [],
  erasures = [],
}: LedgerExcerpt): LedgerExcerpt["entries"] {
  return [...seals, ...losses, ...grants, ...erasures];
}
