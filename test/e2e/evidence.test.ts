import { spawnSync } from "node:child_process";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { parseTrust, trustText, verifyEvidence } from "../../src/audit/offline/index.ts";
import type { OfflineReport, Trust } from "../../src/audit/offline/index.ts";
import { createSigner } from "../../src/ledger/proof/index.ts";
import { attacks } from "../support/attacks/index.ts";
import type { Attack } from "../support/attacks/index.ts";
import { EvidenceDraft } from "../support/evidence-draft.ts";
import { oddities } from "../support/evidence-oddities.ts";
import { genuineEvidence } from "../support/genuine-evidence.ts";
import type { GenuineEvidence } from "../support/genuine-evidence.ts";
import { startRunningStack } from "./running-stack.ts";
import type { RunningStack } from "./running-stack.ts";

let stack: RunningStack;
let world: GenuineEvidence;
beforeAll(async () => {
  stack = await startRunningStack();
  world = await genuineEvidence(stack);
});
afterAll(async () => {
  world?.remove();
  await stack.stop();
});

const verify = (directory: string, trust: Trust = world.trust, pinned: readonly string[] = []): OfflineReport =>
  verifyEvidence({ directory, trust: parseTrust(trustText(trust)), pinned });
const codesOf = (report: OfflineReport): readonly string[] =>
  report.checks.flatMap(({ findings }) => findings.map(({ code, where, message }) => `${code} ${where}: ${message}`));
const draftOf = (name: keyof GenuineEvidence["bundles"]) => new EvidenceDraft(world.bundles[name]);
const saved = (draft: EvidenceDraft): string => draft.save(join(world.folder, "draft"));

// For `test/vectors/evidence`: what a version of the format was, byte for byte.
test.runIf(process.env["RECORD_EVIDENCE"] !== undefined)("a bundle is kept as a vector", () => {
  const folder = process.env["RECORD_EVIDENCE"] ?? "";
  cpSync(world.bundles.small, join(folder, "bundle"), { recursive: true });
  writeFileSync(join(folder, "trust.json"), trustText(world.trust));
  writeFileSync(join(folder, "pinned.checkpoint"), world.pinned);
  expect(verify(join(folder, "bundle"), world.trust, [world.pinned]).verdict).toBe("verified");
});

test("what was exported is verified, however it was exported", () => {
  for (const [name, directory] of Object.entries(world.bundles))
    expect([name, ...codesOf(verify(directory)), verify(directory).verdict]).toEqual([name, "verified"]);
});

describe.each(attacks)("%s", (_, table) => {
  test.each(table.map((attack) => [attack.attack, attack.code, attack] as const))(
    "%s: %s",
    (_attack, code, attack: Attack) => {
      const draft = draftOf(attack.base);
      attack.tamper(draft, world);
      const latest = readFileSync(join(world.bundles.whole, "logs/shop/checkpoint"), "utf8");
      const pinned = attack.pinned === undefined ? [] : [attack.pinned === "latest" ? latest : world.pinned];
      const report = verify(saved(draft), attack.trust?.(world.trust, world) ?? world.trust, pinned);
      expect(codesOf(report).map((line) => line.split(" ")[0])).toContain(code);
      expect(report.verdict).toBe(attack.verdict ?? "refuted");
    },
  );
});

describe("unusual, and in order", () => {
  test.each(oddities.map((oddity) => [oddity.base, oddity.oddity, oddity] as const))("%s, %s", (base, _, oddity) => {
    const draft = draftOf(base);
    oddity.change?.(draft, world);
    const root = saved(draft);
    const trust = oddity.trust?.(world.trust) ?? world.trust;
    const report = verify(oddity.folder?.(root) ?? root, trust, oddity.pinned?.(world, draft) ?? []);
    expect(codesOf(report)).toEqual([]);
    expect(report.verdict).toBe("verified");
  });
});

test("a pin that is of no log of the bundle is told, and nothing is verified against it", () => {
  const pin = readFileSync(join(world.bundles.whole, "logs/people/checkpoint"), "utf8").replace(
    "/people\n",
    "/elsewhere\n",
  );
  const report = verify(world.bundles.whole, world.trust, [pin]);
  expect(report.verdict).toBe("incomplete");
  expect(codesOf(report)).toEqual([expect.stringMatching(/^pin_unproven localhost\/ledger\/elsewhere/)]);
});

test("a run that goes on is told: a selection may leave out what came after", () => {
  const draft = draftOf("withheld");
  const { run } = draft.manifest.runs[0]!;
  const leaves = draft.leaves("shop");
  const closed = leaves.findIndex((leaf) => leaf.includes(run) && leaf.includes('"run.closed"'));
  draft.putLeaves("shop", leaves.toSpliced(closed, 1));
  draft.edit(draft.log("shop").proofs!, (proofs) => proofs.proofs.splice(closed, 1));
  draft.edit(draft.record(run), (record) => Object.assign(record.run, { closedAt: null, status: "running" }));
  delete draft.section(run).statement;
  const report = verify(saved(draft));
  expect(report.notProven.join()).toContain("what came after");
});

test("who holds the log's key and has no witness and no pin against them is not found out", () => {
  const draft = draftOf("whole");
  draft.relog(
    "shop",
    (entries) => (entries[0].at = "2001-01-01T00:00:00.000Z"),
    createSigner("localhost/ledger/shop", world.operatorSeed),
  );
  const report = verify(saved(draft));
  expect(report.verdict).toBe("verified");
  expect(report.notProven.join()).toContain("no checkpoint was pinned");
});

/** Another reader, in another language, written from the format's document. */
function independent(directory: string, log: string): { readonly status: number | null; readonly stdout: string } {
  const [key = ""] = world.trust.logs[log]?.verifierKeys ?? [];
  return spawnSync("python3", ["test/independent/verify_log.py", directory, log, key], { encoding: "utf8" });
}

test.skipIf(spawnSync("python3", ["--version"]).status !== 0)(
  "a second reader in Python agrees on log, proofs and signature",
  () => {
    for (const base of ["withheld", "whole", "everything"] as const) {
      const { status, stdout } = independent(world.bundles[base], "shop");
      expect({ base, status, stdout }).toMatchObject({ base, status: 0 });
    }
    expect(independent(world.bundles.whole, "people").status).toBe(0);
    const draft = draftOf("withheld");
    draft.editLeaf(
      "shop",
      ({ kind }) => kind === "run.closed",
      (entry) => (entry.facts.steps = 1),
    );
    expect(independent(saved(draft), "shop")).toMatchObject({
      status: 1,
      stdout: expect.stringContaining("inclusion"),
    });
    const resigned = draftOf("whole");
    resigned.sign("shop", createSigner("localhost/ledger/shop", Buffer.alloc(32, 66)));
    expect(independent(saved(resigned), "shop").status).toBe(1);
  },
);
