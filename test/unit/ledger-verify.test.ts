import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  createSigner,
  formatCheckpoint,
  hexOf,
  leafHash,
  noPrevious,
  parseEntry,
  rootOf,
  signNote,
  verifyLog,
} from "../../src/ledger/proof/index.ts";
import type { LogReport } from "../../src/ledger/proof/index.ts";
import { canonicalBytes } from "../../src/store/canonical.ts";
import type { Json } from "../../src/core/json.ts";

const signer = createSigner("test.example/ledger/refunds", Buffer.alloc(32, 7));
const runIds = ["run_01J0000000000000000000000A", "run_01J0000000000000000000000B"] as const;

function must<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error("expected a value");
  return value;
}

/** A log of `count` entries: two runs in turns, and every fifth entry of no run. */
function log(count: number): Uint8Array[] {
  const last = new Map<string, { seq: number; prev: string }>();
  return Array.from({ length: count }, (_, n) => {
    const id = must(runIds[n % 2]);
    const { seq, prev } = last.get(id) ?? { seq: 0, prev: noPrevious };
    const inRun = n % 5 !== 4;
    const bytes = leaf(n, inRun ? { id, seq, prev } : undefined);
    if (inRun) last.set(id, { seq: seq + 1, prev: hexOf(leafHash(bytes)) });
    return bytes;
  });
}

function leaf(n: number, run: Json | undefined, change: Record<string, Json> = {}): Uint8Array {
  const entry = {
    v: 1,
    kind: "step.decided",
    log: "refunds",
    dedupKey: `k${n}`,
    at: "2026-01-02T03:04:05.678Z",
    facts: { n, list: ["a"] },
  };
  return canonicalBytes({ ...entry, ...(run === undefined ? {} : { run }), ...change });
}

function checkpointOf(entries: readonly Uint8Array[], by = signer): string {
  return signNote(formatCheckpoint({ origin: by.name, size: entries.length, root: rootOf(entries.map(leafHash)) }), [
    by,
  ]);
}

async function verdict(entries: Iterable<Uint8Array>, checkpoint: string, pinned?: string): Promise<LogReport> {
  return verifyLog({ entries, checkpoint, verifierKey: signer.verifierKey, pinned });
}

const failedChecks = (report: LogReport): string[] =>
  report.checks.filter((check) => check.status === "failed").map((check) => check.name);

describe("a log as it was signed", () => {
  test("is verified, with and without a pinned checkpoint, and when empty", async () => {
    const entries = log(300);
    const report = await verdict(entries, checkpointOf(entries), checkpointOf(entries.slice(0, 123)));
    expect(report).toMatchObject({ verdict: "verified", entries: 300, runs: 2 });
    expect(report.checks.map((check) => check.status)).toEqual(Array(6).fill("passed"));
    expect((await verdict([], checkpointOf([]), checkpointOf([]))).verdict).toBe("verified");
  });

  test("is incomplete when it goes on past the checkpoint", async () => {
    const entries = log(30);
    const report = await verdict(entries, checkpointOf(entries.slice(0, 20)));
    expect(report).toMatchObject({ verdict: "incomplete", entries: 20 });
  });
});

describe("tampering is refuted", { timeout: 30_000 }, () => {
  const entries = log(40);
  const checkpoint = checkpointOf(entries);

  test("any changed byte", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(39), fc.nat(), fc.integer({ min: 1, max: 255 }), async (index, place, xor) => {
        const forged = Uint8Array.from(must(entries[index]));
        forged.set([must(forged[place % forged.length]) ^ xor], place % forged.length);
        expect((await verdict(entries.with(index, forged), checkpoint)).verdict).toBe("refuted");
      }),
    );
  });

  test("any removed, repeated or swapped entry", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(38), fc.nat(39), async (a, b) => {
        expect((await verdict(entries.toSpliced(a, 1), checkpoint)).verdict).toBe("refuted");
        fc.pre(a !== b);
        expect((await verdict(entries.toSpliced(a, 0, must(entries[a])), checkpoint)).verdict).toBe("refuted");
        const swapped = entries.with(a, must(entries[b])).with(b, must(entries[a]));
        expect((await verdict(swapped, checkpoint)).verdict).toBe("refuted");
      }),
    );
  });

  test("a cut tail, also one with the newest entries gone", async () => {
    const report = await verdict(entries.slice(0, 39), checkpoint);
    expect(report.verdict).toBe("refuted");
    expect(failedChecks(report)).toContain("size");
  });

  test("a rewritten log that the operator signed again is refuted by the pinned checkpoint", async () => {
    const rewritten = entries.with(3, leaf(3, undefined));
    const fresh = log(3).concat(rewritten.slice(3));
    const report = await verdict(fresh, checkpointOf(fresh), checkpointOf(entries.slice(0, 20)));
    expect(failedChecks(report)).toContain("pinned");
    const rolledBack = await verdict(
      entries.slice(0, 10),
      checkpointOf(entries.slice(0, 10)),
      checkpointOf(entries.slice(0, 20)),
    );
    expect(failedChecks(rolledBack)).toEqual(["pinned"]);
  });

  test("a gap inside a run that was signed over is still seen", async () => {
    const gap = [must(entries[0]), must(entries[1]), ...entries.slice(3)];
    const report = await verdict(gap, checkpointOf(gap));
    expect(failedChecks(report)).toEqual(["runs"]);
    expect(report.checks.find((check) => check.name === "runs")?.detail).toContain(`run \`${runIds[0]}\` has seq`);
  });

  test("another key's signature, and a checkpoint moved to another root", async () => {
    const impostor = createSigner(signer.name, Buffer.alloc(32, 8));
    expect(failedChecks(await verdict(entries, checkpointOf(entries, impostor)))).toEqual(["signature"]);
    expect(failedChecks(await verdict(entries, checkpoint.replace("\n40\n", "\n39\n")))).toEqual(["signature"]);
  });
});

describe("entries that were signed but are not entries", () => {
  test.each([
    [
      "other spelling",
      Buffer.from(JSON.stringify({ v: 1, ...JSON.parse(Buffer.from(leaf(0, undefined)).toString()) }, null, 1)),
    ],
    ["a key twice", Buffer.from(Buffer.from(leaf(0, undefined)).toString().replace('"v":1', '"v":1,"v":1'))],
    ["a fraction", leaf(0, undefined, { facts: { amount: 0.5 } })],
    ["an unknown field", leaf(0, undefined, { extra: 1 })],
    ["another version", leaf(0, undefined, { v: 2 })],
    ["not UTF-8", Buffer.concat([leaf(0, undefined), Buffer.of(0xff)])],
    ["too large", leaf(0, undefined, { facts: { text: "x".repeat(16 * 1024) } })],
    ["deep nesting", Buffer.from("[".repeat(8_000) + "]".repeat(8_000))],
  ])("%s", async (_what, bytes) => {
    expect(failedChecks(await verdict([bytes], checkpointOf([bytes])))).toEqual(["entries"]);
  });

  test("entries of two logs", async () => {
    const mixed = [leaf(0, undefined), leaf(1, undefined, { log: "other" })];
    expect(failedChecks(await verdict(mixed, checkpointOf(mixed)))).toEqual(["entries"]);
  });
});

test("kinds newer than this code are read", () => {
  expect(parseEntry(leaf(0, undefined, { kind: "payload.erased" })).kind).toBe("payload.erased");
});
