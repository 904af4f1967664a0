import { peopleLog } from "../core/ids.ts";
import type { Digest, RunId } from "../core/ids.ts";
import type { LedgerExcerpt } from "../core/run-record.ts";
import {
  latestCheckpoint,
  cosignedCheckpoint,
  cosignedLatest,
  proveConsistency,
  proveInclusions,
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
 * The run's entries with proofs to the checkpoint of `size`, or the latest. Those that it does not cover yet have none. `grants`: keys of the
 * entries of standing grants that it used.
 */
export async function ledgerExcerpt(
  tx: Tx,
  run: { readonly id: RunId; readonly team: string; readonly dataKey: string | null },
  verifierKey: string,
  grants: readonly string[],
  size?: number,
): Promise<LedgerExcerpt> {
  const [checkpoint, entries, waiting, ofGrants, executions] = await Promise.all([
    size === undefined ? cosignedLatest(tx, run.team) : cosignedCheckpoint(tx, run.team, size),
    readRunEntries(tx, run.id),
    unsequenced(tx, run.id),
    unsequencedKeyed(tx, run.team, grants),
    executionsOf(tx, run.id),
  ]);
  const covered = checkpoint?.size ?? 0;
  const erasures = run.dataKey === null ? [] : [erasureKey(run.dataKey), erasureKey(run.id)];
  const keys = executions.map(({ position }) => sealKey(run.id, position));
  const lost = executions.filter((execution) => execution.lost).map(({ position }) => lossKey(run.id, position));
  const cosigned = await cosignedExcerpt(tx, run, covered);
  const proven = (found: readonly SequencedEntry[]) => withProofs(tx, run.team, found, covered);
  return {
    checkpoint: checkpoint?.note ?? null,
    verifierKey,
    waiting:
      waiting +
      ofGrants +
      (lost.length === 0 ? 0 : await unsequencedKeyed(tx, run.team, lost)) +
      (erasures.length === 0 ? 0 : await unsequencedKeyed(tx, run.team, erasures)),
    entries: await proven(entries),
    ...(cosigned.length === 0 ? {} : { cosigned }),
    seals: await proven(await readKeyedEntries(tx, run.team, keys)),
    ...(lost.length === 0 ? {} : { losses: await proven(await readKeyedEntries(tx, run.team, lost)) }),
    grants: await proven(await readKeyedEntries(tx, run.team, grants)),
    ...(erasures.length === 0 ? {} : { erasures: await proven(await readKeyedEntries(tx, run.team, erasures)) }),
  };
}

/** The checkpoints on which calls of the run were made that had to wait for witnesses, up to the size that all is proved to. */
async function cosignedExcerpt(
  tx: Tx,
  { id, team }: { readonly id: RunId; readonly team: string },
  covered: number,
): Promise<NonNullable<LedgerExcerpt["cosigned"]>> {
  const { rows } = await tx.query<{ size: number }>(
    "select distinct covered_size as size from effect where run = $1 and covered_size <= $2 order by size",
    [id, covered],
  );
  const found: NonNullable<LedgerExcerpt["cosigned"]>[number][] = [];
  for (const { size } of rows) {
    const checkpoint = await cosignedCheckpoint(tx, team, size);
    if (checkpoint === undefined) continue;
    const proof = size === covered ? {} : { proof: (await proveConsistency(tx, team, size, covered)).map(hexOf) };
    found.push({ size, note: checkpoint.note, ...proof });
  }
  return found;
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
export async function withProofs(
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
