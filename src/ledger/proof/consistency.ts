import { ProofError } from "./errors.ts";
import { equalHashes, nodeHash } from "./hash.ts";
import type { Hash } from "./hash.ts";
import { assertHashes, half } from "./inclusion.ts";
import { consistencyRanges } from "./ranges.ts";
import { rootOf } from "./tree.ts";

/** The proof that the tree over the first `from` leaves is a prefix of the tree over all `leafHashes`. `from` MUST NOT be 0. */
export function consistencyProof(leafHashes: readonly Hash[], from: number): readonly Hash[] {
  return consistencyRanges(from, leafHashes.length).map(({ start, end }) => rootOf(leafHashes.slice(start, end)));
}

export type ConsistencyClaim = {
  readonly from: number;
  readonly to: number;
  readonly fromRoot: Hash;
  readonly toRoot: Hash;
  readonly proof: readonly Hash[];
};

/**
 * Returns when the proof shows the tree of `from` leaves to be a prefix of that of `to`; throws `proof_malformed` or
 * `root_mismatch`. The algorithm of RFC 9162 §2.1.4.2; as in transparency-dev/merkle, `from` 0 is an error, since everything is
 * consistent with an empty tree.
 */
export function verifyConsistency(claim: ConsistencyClaim): void {
  const { from, to, proof } = claim;
  if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || from < 1 || from > to) {
    throw new ProofError("proof_malformed", `no consistency from size ${from} to ${to}, expected 0 < from <= to`);
  }
  if (from === to) {
    if (proof.length > 0)
      throw new ProofError("proof_malformed", `proof has ${proof.length} hashes, expected 0 between equal sizes`);
    if (!equalHashes(claim.fromRoot, claim.toRoot))
      throw new ProofError("root_mismatch", "trees of one size have different roots");
    return;
  }
  assertHashes([claim.fromRoot, ...proof]);
  const { oldRoot, newRoot } = climb(claim);
  if (!equalHashes(oldRoot, claim.fromRoot))
    throw new ProofError("root_mismatch", "consistency proof leads to another older root");
  if (!equalHashes(newRoot, claim.toRoot))
    throw new ProofError("root_mismatch", "consistency proof leads to another newer root");
}

/** Both roots, as the proof gives them. */
function climb({ from, to, fromRoot, proof }: ConsistencyClaim): { oldRoot: Hash; newRoot: Hash } {
  let place = from - 1;
  let last = to - 1;
  while (place % 2 === 1) [place, last] = [half(place), half(last)];
  // `place` 0 now means a perfect old tree: its root starts the climb, and the proof leaves it out.
  const [seed, ...siblings] = place === 0 ? [fromRoot, ...proof] : proof;
  if (seed === undefined || proof.length === 0) throw new ProofError("proof_malformed", "consistency proof is empty");
  let oldRoot = seed;
  let newRoot = seed;
  for (const sibling of siblings) {
    if (last === 0) throw new ProofError("proof_malformed", `proof has ${proof.length} hashes, more than expected`);
    if (place % 2 === 1 || place === last) {
      oldRoot = nodeHash(sibling, oldRoot);
      newRoot = nodeHash(sibling, newRoot);
      while (place % 2 === 0 && place !== 0) [place, last] = [half(place), half(last)];
    } else {
      newRoot = nodeHash(newRoot, sibling);
    }
    [place, last] = [half(place), half(last)];
  }
  if (last !== 0) throw new ProofError("proof_malformed", `proof has ${proof.length} hashes, fewer than expected`);
  return { oldRoot, newRoot };
}
