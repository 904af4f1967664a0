import type { Digest, RunId } from "../core/ids.ts";
import type { LedgerExcerpt } from "../core/run-record.ts";
import { latestCheckpoint, proveInclusion, readRunEntries, unsequenced } from "../ledger/index.ts";
import type { Tx } from "../store/index.ts";

/** The run's entries with proofs to the latest checkpoint. Those that it does not cover yet have none. */
export async function ledgerExcerpt(
  tx: Tx,
  run: { readonly id: RunId; readonly team: string },
  verifierKey: string,
): Promise<LedgerExcerpt> {
  const [checkpoint, entries, waiting] = await Promise.all([
    latestCheckpoint(tx, run.team),
    readRunEntries(tx, run.id),
    unsequenced(tx, run.id),
  ]);
  const size = checkpoint?.size ?? 0;
  const proven: LedgerExcerpt["entries"][number][] = [];
  for (const { index, body } of entries) {
    const leaf = Buffer.from(body).toString("utf8");
    if (index >= size) proven.push({ index, leaf });
    else proven.push({ index, leaf, proof: (await proveInclusion(tx, run.team, index, size)).map(hexOf) });
  }
  return { checkpoint: checkpoint?.note ?? null, verifierKey, waiting, entries: proven };
}

export function hexOf(hash: Uint8Array): Digest {
  return Buffer.from(hash).toString("hex") as Digest;
}
