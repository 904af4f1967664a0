import { createPrivateKey } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { exportBundle } from "../../src/audit/index.ts";
import type { ExportOptions } from "../../src/audit/index.ts";
import { trustFormat } from "../../src/audit/offline/index.ts";
import type { Trust } from "../../src/audit/offline/index.ts";
import { keyIdOf, publicKeyOf } from "../../src/approvals/index.ts";
import { evidenceSource } from "../../src/cli/evidence-source.ts";
import { registerExample } from "../../src/cli/example.ts";
import type { RunId } from "../../src/core/ids.ts";
import { loadPolicyDirectory } from "../../src/policy/index.ts";
import type { RunningStack } from "../e2e/running-stack.ts";
import {
  addReviewer,
  byDelegate,
  cancelled,
  changed,
  decided,
  erasedSince,
  grantedAhead,
  ofOffice,
  registerOffice,
  thawed,
} from "./evidence-runs.ts";
import type { Signer } from "./evidence-runs.ts";

export const runNames = [
  "approved",
  "twin",
  "declined",
  "denied",
  "asked",
  "cancelled",
  "later",
  "edited",
  "ahead",
  "chained",
  "extended",
  "failed",
  "delegated",
  "frozen",
  "erased",
] as const;
export type RunName = (typeof runNames)[number];

/** `withheld` and `pinned` are without contents; `everything` has all runs, `nothing` none, `several` those of two teams, `chains` one over several executions, the others one to four. */
export const bundleNames = [
  "selected",
  "whole",
  "withheld",
  "pinned",
  "small",
  "everything",
  "several",
  "chains",
  "nothing",
] as const;
export type BundleName = (typeof bundleNames)[number];

/** Real runs of a real stack, exported in several ways, with all the keys that an insider has. */
export type GenuineEvidence = {
  readonly folder: string;
  readonly runs: Readonly<Record<RunName, RunId>>;
  readonly bundles: Readonly<Record<BundleName, string>>;
  readonly trust: Trust;
  /** Of the log, when the first runs were done. */
  readonly pinned: string;
  /** The Ed25519 seed that all logs are signed with. */
  readonly operatorSeed: Uint8Array;
  readonly reviewer: { readonly principal: string; readonly privateKey: string; readonly keyId: string };
  remove(): void;
};

/** So that the office's long run goes on as new: after so many events of its history, Temporal says that it is long. */
export const stackForEvidence = {
  temporal: { "limit.historyCount.suggestContinueAsNew": "70" },
  env: { COUNTERSIGN_SCRIPTS: "test/fixtures/office/script.yaml" },
};

export async function genuineEvidence(stack: RunningStack): Promise<GenuineEvidence> {
  await registerExample(stack.operator);
  await registerOffice(stack);
  const refund = (order: string) =>
    `Please refund $60.00 for order ${order}, the grinder is faulty. Größe 猫 \u{1F63A}`;
  const approved = await decided(stack, refund("A-1002"), "approve");
  const pinned = (await stack.operator.checkpoint({ params: { log: "shop" } })).checkpoint;
  // Side by side with those of the other team, and of the person who is erased.
  const [[twin, declined, denied, asked, stopped], [chained, extended, failed], erased] = await Promise.all([
    Promise.all([
      decided(stack, refund("A-1002"), "approve"),
      decided(stack, refund("A-1002"), "deny"),
      decided(stack, "Please refund $600.00 for order A-1002, all of it.", "deny"),
      decided(stack, "Where is my order A-1001?", "deny"),
      cancelled(stack, refund("A-1002")),
    ]),
    Promise.all([
      ofOffice(stack, "Which rooms are free in March?"),
      ofOffice(stack, "Please look for a room.", "tight"),
      ofOffice(stack, "Please ask the janitor."),
    ]),
    erasedSince(stack, "Where is my order A-1001?"),
  ]);
  // A second set in force: the first one, with a remark.
  const { document } = await loadPolicyDirectory("policies/support");
  const [first, ...others] = document.policies;
  const policies = [{ ...first!, text: `// from here on\n${first!.text}` }, ...others];
  await stack.operator.activatePolicies({ params: { team: "shop" }, body: { document: { v: 1, policies } } });
  const later = await decided(stack, refund("A-1002"), "approve");
  const edited = await changed(stack, refund("A-1002"));
  // What is granted ahead takes two people.
  const second = await addReviewer(stack, "trudy", ["treasury"]);
  const delegate = await addReviewer(stack, "dana", []);
  const ahead = await grantedAhead(stack, second, refund("A-1002"));
  const frozen = await thawed(stack, refund("A-1002"));
  const delegated = await byDelegate(stack, delegate, refund("A-1002"));
  const shops = { approved, twin, declined, denied, asked, cancelled: stopped, later, edited, ahead };
  const runs = { ...shops, chained, extended, failed, delegated, frozen, erased };
  const folder = mkdtempSync(join(tmpdir(), "countersign-evidence-"));
  const source = evidenceSource(stack.operator);
  const write = async (name: string, options: Partial<ExportOptions> = {}): Promise<string> => {
    const { directory } = await exportBundle(source, {
      runs: Object.values(runs),
      directory: join(folder, name),
      force: false,
      contents: true,
      wholeLogs: false,
      code: false,
      about: undefined,
      pinned: [],
      generator: { name: "countersign", version: "test" },
      now: new Date(),
      onProgress: () => undefined,
      ...options,
    });
    return directory;
  };
  const bundles = {
    selected: await write("selected", {
      runs: [approved, twin],
      code: true,
      about: { id: "C-1", title: "Fälle <b>&", note: "a\nb" },
    }),
    whole: await write("whole", { runs: [approved, denied, later, ahead], wholeLogs: true }),
    withheld: await write("withheld", { runs: [approved, twin, declined, edited, ahead], contents: false }),
    pinned: await write("pinned", { runs: [approved], contents: false, pinned: [pinned] }),
    small: await write("small", { runs: [approved], pinned: [pinned] }),
    everything: await write("everything"),
    several: await write("several", {
      runs: [approved, edited, stopped, extended, failed, delegated, frozen, erased],
      wholeLogs: true,
    }),
    chains: await write("chains", { runs: [chained, failed], wholeLogs: true, contents: false }),
    nothing: await write("nothing", { runs: [] }),
  };
  return {
    folder,
    runs,
    bundles,
    pinned,
    ...(await keysOf(stack, [second, delegate])),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

async function keysOf(
  stack: RunningStack,
  others: readonly Signer[],
): Promise<Pick<GenuineEvidence, "trust" | "operatorSeed" | "reviewer">> {
  const keyOf = async (log: string) => (await stack.operator.verifierKey({ params: { log } })).verifierKey;
  const { entries } = await stack.operator.entries({ params: { log: "people" } });
  const { facts } = JSON.parse(entries[0]?.leaf ?? "") as {
    facts: { principal: string; keyId: string; publicKey: string };
  };
  const { principal, keyId, publicKey } = facts;
  const seed = createPrivateKey(readFileSync(join(stack.home, "secrets/ledger.pem"), "utf8"));
  return {
    trust: {
      format: trustFormat,
      logs: {
        shop: { verifierKeys: [await keyOf("shop")] },
        office: { verifierKeys: [await keyOf("office")] },
        people: { verifierKeys: [await keyOf("people")] },
      },
      approvers: [
        { principal, keyId, publicKey, groups: ["treasury", "budget", "reviewers"] },
        ...others.map((one) => ({
          principal: one.principal,
          keyId: keyIdOf(publicKeyOf(one.privateKey)),
          publicKey: publicKeyOf(one.privateKey),
          groups: one.principal === "trudy" ? ["treasury"] : [],
        })),
      ],
    },
    operatorSeed: seed.export({ format: "der", type: "pkcs8" }).subarray(-32),
    reviewer: { principal, keyId, privateKey: readFileSync(join(stack.home, "secrets/reviewer.pem"), "utf8") },
  };
}
