import { peopleLog } from "../core/ids.ts";
import type { Digest, RunId } from "../core/ids.ts";
import type { LedgerExcerpt } from "../core/run-record.ts";
import {
  latestCheckpoint,
  cosignedCheckpoint,
  cosignedLatest,
  proveConsistency,
  proveInclusions,
  readContextEntries,
  readKeyedEntries,
  readRunEntries,
  unsequenced,
  unsequencedKeyed,
} from "../ledger/index.ts";
import type { SequencedEntry } from "../ledger/index.ts";
import { executionsOf } from "../store/index.ts";
import type { Tx } from "../store/index.ts";
import { erasureKey } from "./ledger-events.ts";
import { lossKey, sealKey } from "./seal-histories.ts";

/**
 * The run's entries with proofs to the checkpoint of `size`, or the latest, and as `context` those that it is judged against. Those that it does
 * not cover yet have none. `grants`: keys of the entries of standing grants that it used. Few round trips: what needs nothing of each other is sent
 * together, and all proofs are read at once.
 */
export async function ledgerExcerpt(
  tx: Tx,
  run: { readonly id: RunId; readonly team: string; readonly release: Digest; readonly dataKey: string | null },
  verifierKey: string,
  grants: readonly string[],
  size?: number,
): Promise<{ readonly excerpt: LedgerExcerpt; readonly context: LedgerExcerpt["entries"] }> {
  const { team } = run;
  const erasures = run.dataKey === null ? [] : [erasureKey(run.dataKey), erasureKey(run.id)];
  const [checkpoint, sizes, waiting, waitingBeside, entries, context, executed, ofGrants, ofErasures] =
    await Promise.all([
      size === undefined ? cosignedLatest(tx, team) : cosignedCheckpoint(tx, team, size),
      coveredSizes(tx, run.id),
      unsequenced(tx, run.id),
      unsequencedKeyed(tx, team, [...grants, ...erasures]),
      readRunEntries(tx, run.id),
      readContextEntries(tx, team, run.release),
      ofExecutions(tx, run),
      readKeyedEntries(tx, team, grants),
      readKeyedEntries(tx, team, erasures),
    ]);
  const covered = checkpoint?.size ?? 0;
  const { seals, losses } = executed;
  const all = [entries, context, seals, losses, ofGrants, ofErasures];
  const [proved, cosigned] = await Promise.all([
    withProofs(tx, team, all.flat(), covered),
    cosignedExcerpt(tx, team, sizes, covered),
  ]);
  let from = 0;
  const [
    ownProved = [],
    contextProved = [],
    sealsProved = [],
    lossesProved = [],
    grantsProved = [],
    erasuresProved = [],
  ] = all.map(({ length }) => proved.slice(from, (from += length)));
  const excerpt = {
    checkpoint: checkpoint?.note ?? null,
    verifierKey,
    waiting: waiting + waitingBeside + executed.waiting,
    entries: ownProved,
    ...(cosigned.length === 0 ? {} : { cosigned }),
    seals: sealsProved,
    ...(executed.lost ? { losses: lossesProved } : {}),
    grants: grantsProved,
    ...(erasures.length === 0 ? {} : { erasures: erasuresProved }),
  };
  return { excerpt, context: contextProved };
}

/** What the ledger has of the run's executions: of those whose histories were sealed, and of those that were lost. */
async function ofExecutions(tx: Tx, { id, team }: { readonly id: RunId; readonly team: string }) {
  const executions = await executionsOf(tx, id);
  const lost = executions.filter((execution) => execution.lost).map(({ position }) => lossKey(id, position));
  const sealed = executions.map(({ position }) => sealKey(id, position));
  const [seals, losses, waiting] = await Promise.all([
    readKeyedEntries(tx, team, sealed),
    readKeyedEntries(tx, team, lost),
    unsequencedKeyed(tx, team, lost),
  ]);
  return { seals, losses, waiting, lost: lost.length > 0 };
}

/** The checkpoints on which calls of the run were made that had to wait for witnesses, up to the size that all is proved to. */
async function cosignedExcerpt(
  tx: Tx,
  team: string,
  sizes: readonly number[],
  covered: number,
): Promise<NonNullable<LedgerExcerpt["cosigned"]>> {
  const found: NonNullable<LedgerExcerpt["cosigned"]>[number][] = [];
  for (const size of sizes.filter((one) => one <= covered)) {
    const checkpoint = await cosignedCheckpoint(tx, team, size);
    if (checkpoint === undefined) continue;
    const proof = size === covered ? {} : { proof: (await proveConsistency(tx, team, size, covered)).map(hexOf) };
    found.push({ size, note: checkpoint.note, ...proof });
  }
  return found;
}

/** Sizes of the checkpoints on which calls of the run were made that had to wait for witnesses. */
async function coveredSizes(tx: Tx, id: RunId): Promise<readonly number[]> {
  const { rows } = await tx.query<{ size: number }>(
    "select distinct covered_size as size from effect where run = $1 and covered_size is not null order by size",
    [id],
  );
  return rows.map(({ size }) => size);
}

/** How these keys were enrolled and revoked, and these delegations granted and ended, proved to the latest checkpoint of the log of people. */
export async function peopleExcerpt(
  tx: Tx,
  { keyIds, delegations }: { readonly keyIds: readonly string[]; readonly delegations: readonly string[] },
  verifierKey: string,
): Promise<LedgerExcerpt> {
  const names = [
    ...keyIds.flatMap((keyId) => [`key/${keyId}/added`, `key/${keyId}/revoked`]),
    ...delegations.flatMap((id) => [`delegation/${id}/granted`, `delegation/${id}/revoked`]),
  ];
  const [checkpoint, entries, waiting] = await Promise.all([
    latestCheckpoint(tx, peopleLog),
    readKeyedEntries(tx, peopleLog, names),
    unsequencedKeyed(tx, peopleLog, names),
  ]);
  const proven = await withProofs(tx, peopleLog, entries, checkpoint?.size ?? 0);
  return { checkpoint: checkpoint?.note ?? null, verifierKey, waiting, entries: proven };
}

/** Entries with proofs to the tree of `size`; those beyond it have none. */
async function withProofs(
  tx: Tx,
  log: string,
  entries: readonly Pick<SequencedEntry, "index" | "body">[],
  size: number,
): Promise<LedgerExcerpt["entries"]> {
  const covered = entries.map(({ index }) => index).filter((index) => index < size);
  const proofs = await proveInclusions(tx, log, covered, size);
  const proofOf = new Map(covered.map((index, place) => [index, proofs[place]?.map(hexOf) ?? []]));
  return entries.map(({ index, body }) => {
    const proof = proofOf.get(index);
    return { index, leaf: Buffer.from(body).toString("utf8"), ...(proof === undefined ? {} : { proof }) };
  });
}

export function hexOf(hash: Uint8Array): Digest {
  return Buffer.from(hash).toString("hex") as Digest;
}
