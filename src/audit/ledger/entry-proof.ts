import type { LedgerExcerpt } from "../../core/run-record.ts";
import { leafHash, verifyInclusion } from "../../ledger/proof/index.ts";
import type { Checkpoint } from "../../ledger/proof/index.ts";

/**
 * Whether the checkpoint covers an entry; false where there is no proof, or no checkpoint that could be read. Throws where the proof does
 * not hold.
 */
export function isCovered(
  { index, leaf, proof }: LedgerExcerpt["entries"][number],
  checkpoint: Checkpoint | string,
): boolean {
  if (proof === undefined || typeof checkpoint === "string") return false;
  verifyInclusion({
    index,
    size: checkpoint.size,
    leafHash: leafHash(Buffer.from(leaf, "utf8")),
    proof: proof.map((hash) => Buffer.from(hash, "hex")),
    root: checkpoint.root,
  });
  return true;
}
