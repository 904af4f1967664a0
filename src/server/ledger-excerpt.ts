import { peopleLog } from "../core/ids.ts";
import type { Digest, RunId } from "../core/ids.ts";
import type { LedgerExcerpt } from "../core/run-record.ts";
import {
  checkpointOfSize,
  latestCheckpoint,
  proveInclusion,
  readKeyedEntries,
  readRunEntries,
  unsequenced,
  unsequencedKeyed,
} from "../ledger/index.ts";
import type { SequencedEntry } from "../ledger/index.ts";
import { executionsOf } from "../store/index.ts";
import type { Tx } from "../store/index.ts";
import { erasureKey } from "./ledger-events.ts";
import { sealKey } from "./seal-histories.ts";

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
    size === undefined ? latestCheckpoint(tx, run.team) : checkpointOfSize(tx, run.team, size),
    readRunEntries(tx, run.id),
    unsequenced(tx, run.id),
    unsequencedKeyed(tx, run.team, grants),
    executionsOf(tx, run.id),
  ]);
  const covered = checkpoint?.size ?? 0;
  const erasures = run.dataKey === null ? [] : [erasureKey(run.dataKey), erasureKey(run.id)];
  const keys = executions.map(({ position }) => sealKey(run.id, position));
  const proven = (found: readonly SequencedEntry[]) => withProofs(tx, run.team, found, covered);
  return {
    checkpoint: checkpoint?.note ?? null,
    verifierKey,
    waiting: waiting + ofGrants + (erasures.length === 0 ? 0 : await unsequencedKeyed(tx, run.team, erasures)),
    entries: await proven(entries),
    seals: await proven(await readKeyedEntries(tx, run.team, keys)),
    grants: await proven(await readKeyedEntries(tx, run.team, grants)),
    ...(erasures.length === 0 ? {} : { erasures: await proven(await readKeyedEntries(tx, run.team, erasures)) }),
  };
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
  const proven: LedgerExcerpt["entries"][number][] = [];
  for (const { index, body } of entries) {
    const leaf = Buffer.from(body).toString("utf8");
    if (index >= size) proven.push({ index, leaf });
    else proven.push({ index, leaf, proof: (await proveInclusion(tx, log, index, size)).map(hexOf) });
  }
  return proven;
}

export function hexOf(hash: Uint8Array): Digest {
  return Buffer.from(hash).toString("hex") as Digest;
}
