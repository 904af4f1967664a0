import { ProofError } from "./errors.ts";
import { emptyRoot, hashBytes, nodeHash } from "./hash.ts";
import type { Hash } from "./hash.ts";

/** Called for each node that becomes complete: `level` 0 are the leaves, `index` counts from the left of that level. */
export type NodeVisitor = (level: number, index: number, hash: Hash) => void;

/**
 * The roots of the perfect subtrees that a tree of `size` leaves is made of, the largest first: one for each bit that is
 * set in `size`. It is all that appending needs, so a log's state is at most 53 hashes.
 */
export class CompactRange {
  #size: number;
  readonly #hashes: Hash[];

  private constructor(size: number, hashes: readonly Hash[]) {
    this.#size = size;
    this.#hashes = [...hashes];
  }

  static empty(): CompactRange {
    return new CompactRange(0, []);
  }

  /** A range as `size` and `hashes` gave it. Throws `invalid_argument` when the two do not fit. */
  static of(size: number, hashes: readonly Hash[]): CompactRange {
    assertSize(size);
    const expected = BigInt(size).toString(2).replaceAll("0", "").length;
    if (hashes.length !== expected || hashes.some((hash) => hash.length !== hashBytes)) {
      throw new ProofError(
        "invalid_argument",
        `size ${size} needs ${expected} hashes of 32 bytes, got ${hashes.length}`,
      );
    }
    return new CompactRange(size, hashes);
  }

  get size(): number {
    return this.#size;
  }

  get hashes(): readonly Hash[] {
    return [...this.#hashes];
  }

  append(leaf: Hash, onNode?: NodeVisitor): void {
    let node = leaf;
    let index = this.#size;
    let level = 0;
    onNode?.(level, index, node);
    // A right child completes its parent.
    while (index % 2 === 1) {
      const left = this.#hashes.pop();
      if (left === undefined) throw new RangeError("compact range has fewer hashes than its size says");
      node = nodeHash(left, node);
      index = (index - 1) / 2;
      level += 1;
      onNode?.(level, index, node);
    }
    this.#hashes.push(node);
    this.#size += 1;
  }

  root(): Hash {
    return rootOfSubtrees(this.#hashes);
  }
}

/** The root over perfect subtrees in their order from the left, each smaller than the one before. */
export function rootOfSubtrees(subtrees: readonly Hash[]): Hash {
  return subtrees.length === 0 ? emptyRoot : subtrees.reduceRight((right, left) => nodeHash(left, right));
}

/** RFC 6962 §2.1: the Merkle tree hash of the leaves with these hashes. */
export function rootOf(leafHashes: Iterable<Hash>): Hash {
  const range = CompactRange.empty();
  for (const leaf of leafHashes) range.append(leaf);
  return range.root();
}

export function assertSize(size: number): void {
  if (!Number.isSafeInteger(size) || size < 0) {
    throw new ProofError("invalid_argument", `tree size is ${size}, expected an integer from 0 to 2^53 - 1`);
  }
}
