import { ProofError } from "./errors.ts";
import { equalHashes, hashBytes, nodeHash } from "./hash.ts";
import type { Hash } from "./hash.ts";
import { inclusionRanges } from "./ranges.ts";
import { rootOf } from "./tree.ts";

/** The proof that leaf `index` is in the tree over `leafHashes`. */
export function inclusionProof(leafHashes: readonly Hash[], index: number): readonly Hash[] {
  return inclusionRanges(index, leafHashes.length).map(({ start, end }) => rootOf(leafHashes.slice(start, end)));
}

export type InclusionClaim = {
  readonly index: number;
  readonly size: number;
  readonly leafHash: Hash;
  readonly proof: readonly Hash[];
  readonly root: Hash;
};

/**
 * Returns when the proof shows the leaf at `index` of the tree with `root`; throws `proof_malformed` or `root_mismatch`.
 * The algorithm of RFC 9162 §2.1.3.2.
 */
export function verifyInclusion(claim: InclusionClaim): void {
  const { index, size } = claim;
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) {
    throw new ProofError("proof_malformed", `leaf ${index} is not in a tree of ${size}`);
  }
  assertHashes([claim.leafHash, ...claim.proof]);
  let place = index;
  let last = size - 1;
  let hash = claim.leafHash;
  for (const sibling of claim.proof) {
    if (last === 0)
      throw new ProofError("proof_malformed", `proof has ${claim.proof.length} hashes, more than expected`);
    if (place % 2 === 1 || place === last) {
      hash = nodeHash(sibling, hash);
      // On the right border, levels where the node has no sibling add nothing to the proof.
      while (place % 2 === 0 && place !== 0) [place, last] = [half(place), half(last)];
    } else {
      hash = nodeHash(hash, sibling);
    }
    [place, last] = [half(place), half(last)];
  }
  if (last !== 0)
    throw new ProofError("proof_malformed", `proof has ${claim.proof.length} hashes, fewer than expected`);
  if (!equalHashes(hash, claim.root)) throw new ProofError("root_mismatch", "inclusion proof leads to another root");
}

export function assertHashes(hashes: readonly Hash[]): void {
  const wrong = hashes.find((hash) => hash.length !== hashBytes);
  if (wrong !== undefined)
    throw new ProofError("proof_malformed", `hash has ${wrong.length} bytes, expected ${hashBytes}`);
}

/** Integer halves beyond 32 bits, where `>>` would cut. */
export function half(value: number): number {
  return Math.floor(value / 2);
}
