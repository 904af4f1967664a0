import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  CompactRange,
  consistencyProof,
  emptyRoot,
  hexOf,
  inclusionProof,
  leafHash,
  nodeHash,
  ProofError,
  rootOf,
  verifyConsistency,
  verifyInclusion,
} from "../../src/ledger/proof/index.ts";
import type { Hash } from "../../src/ledger/proof/index.ts";

type InclusionVector = {
  index: number;
  size: number;
  leafHash: number;
  root: number;
  proof: number[];
  holds: boolean;
};
type ConsistencyVector = {
  from: number;
  to: number;
  fromRoot: number;
  toRoot: number;
  proof: number[];
  holds: boolean;
};

/** `file` is where the claim lies in the project that published it. */
type PublicVectors = {
  hashes: string[];
  inclusion: (InclusionVector & { file: string })[];
  consistency: (ConsistencyVector & { file: string })[];
};

function vectors<Claim>(name: string): { claims: Claim[]; at: (place: number) => Hash } {
  const url = new URL(`../vectors/merkle/${name}.json`, import.meta.url);
  const { hashes, claims } = JSON.parse(readFileSync(url, "utf8")) as { hashes: string[]; claims: Claim[] };
  return { claims, at: (place) => Buffer.from(must(hashes[place]), "base64") };
}

/** True when `work` returns, false when it refuses with a `ProofError`. Anything else is thrown on. */
function holds(work: () => void): boolean {
  try {
    work();
    return true;
  } catch (error) {
    if (error instanceof ProofError) return false;
    throw error;
  }
}

function must<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error("expected a value");
  return value;
}

const leaves = (count: number): Hash[] => Array.from({ length: count }, (_, n) => leafHash(Buffer.from(`leaf ${n}`)));

describe("vectors", () => {
  test("RFC 6962 hashes", () => {
    // The empty root, and the leaf hash of an empty leaf, as in RFC 6962's reference implementation.
    expect(hexOf(emptyRoot)).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect(hexOf(leafHash(Buffer.alloc(0)))).toBe("6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    expect(rootOf([])).toEqual(emptyRoot);
  });

  test("inclusion: 938 claims judged by the definition", () => {
    const { claims, at } = vectors<InclusionVector>("inclusion");
    expect(claims).toHaveLength(938);
    const misjudged = claims.filter(({ index, size, proof, ...claim }) => {
      const found = { index, size, leafHash: at(claim.leafHash), root: at(claim.root), proof: proof.map(at) };
      return holds(() => verifyInclusion(found)) !== claim.holds;
    });
    expect(misjudged).toEqual([]);
  });

  test("consistency: 965 claims judged by the definition", () => {
    const { claims, at } = vectors<ConsistencyVector>("consistency");
    expect(claims).toHaveLength(965);
    const misjudged = claims.filter(({ from, to, proof, ...claim }) => {
      const found = { from, to, fromRoot: at(claim.fromRoot), toRoot: at(claim.toRoot), proof: proof.map(at) };
      return holds(() => verifyConsistency(found)) !== claim.holds;
    });
    expect(misjudged).toEqual([]);
  });

  test("transparency-dev/merkle: 196 public vectors", () => {
    const text = readFileSync(new URL("../vectors/merkle/public.json", import.meta.url), "utf8");
    // A spoiled claim that is spoiled once more is still false: the bytes are what the project published, or this is red.
    expect(createHash("sha256").update(text).digest("hex")).toBe(
      "cb7e3fa2f2a725fa25934d7be3818dd85d3f0982a52c27f6a2f8aa8cd44f6aeb",
    );
    const { hashes, inclusion, consistency } = JSON.parse(text) as PublicVectors;
    const at = (place: number): Hash => Buffer.from(must(hashes[place]), "base64");
    expect(inclusion.length + consistency.length).toBe(196);
    const misjudged = [
      ...inclusion.filter(({ index, size, proof, ...claim }) => {
        const found = { index, size, leafHash: at(claim.leafHash), root: at(claim.root), proof: proof.map(at) };
        return holds(() => verifyInclusion(found)) !== claim.holds;
      }),
      ...consistency.filter(({ from, to, proof, ...claim }) => {
        const found = { from, to, fromRoot: at(claim.fromRoot), toRoot: at(claim.toRoot), proof: proof.map(at) };
        return holds(() => verifyConsistency(found)) !== claim.holds;
      }),
    ];
    expect(misjudged).toEqual([]);
  });
});

describe("trees", { timeout: 30_000 }, () => {
  test("the compact range has the root of the definition after every append", () => {
    const all = leaves(130);
    const define = (part: readonly Hash[]): Hash => {
      if (part.length < 2) return part[0] ?? emptyRoot;
      const split = 2 ** (Math.ceil(Math.log2(part.length)) - 1);
      return nodeHash(define(part.slice(0, split)), define(part.slice(split)));
    };
    const range = CompactRange.empty();
    for (const [place, leaf] of all.entries()) {
      range.append(leaf);
      expect(range.root()).toEqual(define(all.slice(0, place + 1)));
      expect(CompactRange.of(range.size, range.hashes).root()).toEqual(range.root());
    }
    expect(() => CompactRange.of(3, range.hashes.slice(0, 1))).toThrow(ProofError);
  });

  test("another order of leaves is another root", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 200 }), fc.nat(), fc.nat(), (count, a, b) => {
        const all = leaves(count);
        const [first, second] = [a % count, b % count];
        fc.pre(first !== second);
        const swapped = all.with(first, must(all[second])).with(second, must(all[first]));
        expect(rootOf(swapped)).not.toEqual(rootOf(all));
      }),
    );
  });

  test("every inclusion proof verifies, and none for another leaf, place or root", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 600 }), fc.nat(), fc.nat(), (size, a, b) => {
        const all = leaves(size);
        const index = a % size;
        const root = rootOf(all);
        const claim = { index, size, leafHash: must(all[index]), proof: inclusionProof(all, index), root };
        verifyInclusion(claim);
        const other = b % size;
        if (other === index) return;
        expect(holds(() => verifyInclusion({ ...claim, index: other }))).toBe(false);
        expect(holds(() => verifyInclusion({ ...claim, leafHash: must(all[other]) }))).toBe(false);
        expect(holds(() => verifyInclusion({ ...claim, root: rootOf(all.slice(0, other)) }))).toBe(false);
      }),
    );
  });

  test("every consistency proof verifies, and none from a rewritten past", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 600 }), fc.nat(), fc.nat(), (to, a, b) => {
        const all = leaves(to);
        const from = 1 + (a % to);
        const proof = consistencyProof(all, from);
        const claim = { from, to, fromRoot: rootOf(all.slice(0, from)), toRoot: rootOf(all), proof };
        verifyConsistency(claim);
        const rewritten = all.with(b % from, leafHash(Buffer.from("rewritten")));
        expect(
          holds(() =>
            verifyConsistency({ ...claim, toRoot: rootOf(rewritten), proof: consistencyProof(rewritten, from) }),
          ),
        ).toBe(false);
      }),
    );
  });

  test("sizes past 2^32 climb as far as they should", () => {
    // A tree whose left half has 2^40 leaves: the proof for its last leaf is the root of that half.
    const size = 2 ** 40 + 1;
    const [left, leaf] = leaves(2) as [Hash, Hash];
    const root = nodeHash(left, leaf);
    expect(holds(() => verifyInclusion({ index: size - 1, size, leafHash: leaf, proof: [left], root }))).toBe(true);
    expect(holds(() => verifyInclusion({ index: 0, size, leafHash: leaf, proof: [left], root }))).toBe(false);
    const claim = { from: 2 ** 40, to: size, fromRoot: left, toRoot: root, proof: [leaf] };
    expect(holds(() => verifyConsistency(claim))).toBe(true);
    expect(holds(() => verifyConsistency({ ...claim, from: 2 ** 39 }))).toBe(false);
  });
});
