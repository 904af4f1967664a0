/**
 * Which parts of the tree a proof is made of. A proof is a list of hashes, and each is the root over a range of leaves; where
 * those hashes come from (memory, tiles) is somebody else's matter.
 */
import { ProofError } from "./errors.ts";
import { assertSize } from "./tree.ts";

/** The leaves from `start` up to, not including, `end`. */
export type LeafRange = { readonly start: number; readonly end: number };
/** A complete node: it covers the leaves from `index * 2^level` on, 2^level of them. */
export type NodeId = { readonly level: number; readonly index: number };

/** The audit path of RFC 6962 §2.1.1 for leaf `index` in the tree of `size` leaves, from the leaf up. */
export function inclusionRanges(index: number, size: number): readonly LeafRange[] {
  assertSize(size);
  if (!Number.isSafeInteger(index) || index < 0 || index >= size) {
    throw new ProofError("invalid_argument", `leaf ${index} is not in a tree of ${size}`);
  }
  const path: LeafRange[] = [];
  let start = 0;
  let end = size;
  while (end - start > 1) {
    const middle = start + splitPoint(end - start);
    if (index < middle) {
      path.push({ start: middle, end });
      end = middle;
    } else {
      path.push({ start, end: middle });
      start = middle;
    }
  }
  return path.toReversed();
}

/** The consistency proof of RFC 6962 §2.1.2 from the tree of `from` leaves to that of `to`. `from` 0 proves nothing: an error. */
export function consistencyRanges(from: number, to: number): readonly LeafRange[] {
  assertSize(from);
  assertSize(to);
  if (from === 0 || from > to) {
    throw new ProofError(
      "invalid_argument",
      `no consistency proof from size ${from} to ${to}, expected 0 < from <= to`,
    );
  }
  const proof: LeafRange[] = [];
  let start = 0;
  let end = to;
  // While `start` is 0, the old tree's root is known to the verifier and is left out.
  while (end !== from) {
    const middle = start + splitPoint(end - start);
    if (from <= middle) {
      proof.push({ start: middle, end });
      end = middle;
    } else {
      proof.push({ start, end: middle });
      start = middle;
    }
  }
  if (start !== 0) proof.push({ start, end });
  return proof.toReversed();
}

/** The complete nodes that cover `range`, from the left. `range.start` MUST be where a subtree of its length may start. */
export function completeNodes(range: LeafRange): readonly NodeId[] {
  const nodes: NodeId[] = [];
  let start = range.start;
  while (start < range.end) {
    let level = 0;
    let width = 1;
    while (width * 2 <= range.end - start) {
      width *= 2;
      level += 1;
    }
    nodes.push({ level, index: start / width });
    start += width;
  }
  return nodes;
}

/** The largest power of two below `size`, which MUST be at least 2. */
function splitPoint(size: number): number {
  let split = 1;
  while (split * 2 < size) split *= 2;
  return split;
}
