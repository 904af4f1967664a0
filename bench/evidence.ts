import { hash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { BundleFolder } from "../src/audit/export/bundle-folder.ts";
import { evidenceFormat, parseTrust, trustFormat, verifyEvidence } from "../src/audit/offline/index.ts";
import type { Manifest } from "../src/audit/offline/index.ts";
import type { Json, JsonObject } from "../src/core/json.ts";
import {
  CompactRange,
  createSigner,
  formatCheckpoint,
  hexOf,
  leafHash,
  noPrevious,
  signNote,
} from "../src/ledger/proof/index.ts";
import { canonicalText } from "../src/store/canonical.ts";
import { printGoals } from "./goals.ts";
import { median } from "./statistics.ts";

type Print = (line: string) => void;

const origin = "bench/ledger/shop";
const stepsPerRun = 5;
const entriesPerRun = 2 + 3 * stepsPerRun;
const sizes = [50_000, 200_000] as const;
const rounds = 5;
/** Leaves that are kept for the bare hashes, so that memory is the verifier's. */
const hashed = 1_000;

/**
 * Offline verification of whole logs on one core: every leaf canonical, chained, hashed into the tree, and held against the rules between
 * entries. Beside it, in turns, the bare SHA-256 calls that a tree over the same leaves takes: one for a leaf, one for a node.
 */
export async function benchEvidence(print: Print): Promise<object> {
  const folder = await mkdtemp(join(tmpdir(), "countersign-bench-"));
  try {
    const figures = [];
    for (const size of sizes) figures.push(await measure(join(folder, String(size)), size, print));
    const last = figures.at(-1);
    const rate = last?.verify ?? 0;
    printGoals(print, [["entries verified a second on one core, at least 100,000", rate, rate >= 100_000]]);
    return { verifyPerSecond: rate, shaPerSecond: last?.sha ?? 0, verifyToSha: last?.ratio ?? 0 };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measure(directory: string, size: number, print: Print) {
  const signer = createSigner(origin, Buffer.alloc(32, 1));
  const { leaves, bytes } = await writeLog(directory, size, signer);
  const trust = parseTrust(
    JSON.stringify({ format: trustFormat, logs: { shop: { verifierKeys: [signer.verifierKey] } }, approvers: [] }),
  );
  const [verify, sha]: number[][] = [[], []];
  let memory = 0;
  for (let round = 0; round <= rounds; round += 1) {
    const checked = cpuMs(() => {
      const { verdict } = verifyEvidence({ directory, trust });
      if (verdict !== "verified") throw new Error(`the bench's own log is ${verdict}`);
    });
    memory = Math.max(memory, process.memoryUsage().rss);
    const bare = cpuMs(() => bareHashes(leaves, size));
    // The first round warms up.
    if (round === 0) continue;
    verify?.push((size / checked) * 1_000);
    sha?.push((size / bare) * 1_000);
  }
  const [checked, bare] = [median(verify ?? []), median(sha ?? [])];
  const mebi = Math.round(memory / 2 ** 20);
  print(
    `${size} entries of ${Math.round(bytes / size)} bytes: verified ${Math.round(checked)}/s, bare SHA-256 (leaf and node) ${Math.round(bare)}/s, ratio ${(checked / bare).toFixed(2)}, ${mebi} MiB`,
  );
  return { verify: Math.round(checked), sha: Math.round(bare), ratio: checked / bare };
}

/** Processor time: other work on the machine takes little of it away. */
function cpuMs(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}

function bareHashes(leaves: readonly Buffer[], count: number): void {
  const node = Buffer.alloc(65, 1);
  for (let done = 0; done < count; done += 1) {
    hash("sha256", leaves[done % leaves.length] ?? node, "binary");
    hash("sha256", node, "binary");
  }
}

async function writeLog(directory: string, size: number, signer: ReturnType<typeof createSigner>) {
  const range = CompactRange.empty();
  const leaves: Buffer[] = [];
  let bytes = 0;
  function* lines(): Generator<string> {
    for (const leaf of logOf(size)) {
      const buffer = Buffer.from(leaf, "utf8");
      range.append(leafHash(buffer));
      bytes += buffer.length;
      if (leaves.length < hashed) leaves.push(buffer);
      yield leaf;
    }
  }
  const folder = await BundleFolder.begin(directory, false);
  await folder.lines("logs/shop/leaves", lines());
  await folder.text("logs/shop/checkpoint", signNote(formatCheckpoint({ origin, size, root: range.root() }), [signer]));
  const manifest: Manifest = {
    format: evidenceFormat,
    generator: { name: "bench", version: "1" },
    createdAt: "2026-01-01T00:00:00.000Z",
    needs: [],
    extra: {},
    contents: "withheld",
    logs: [
      {
        log: "shop",
        origin,
        checkpoint: "logs/shop/checkpoint",
        leaves: "logs/shop/leaves",
        coverage: "full",
        old: [],
      },
    ],
    runs: [],
    files: folder.files,
  };
  await folder.manifest(manifest as unknown as Json);
  await folder.finish();
  return { leaves, bytes };
}

/** Runs as the gate enters them, one after the other. */
function* logOf(size: number): Generator<string> {
  const digest = (text: string): string => hash("sha256", text, "hex");
  const at = "2026-01-01T00:00:00.000Z";
  const policySet = digest("policies");
  yield canonicalText({
    v: 1,
    kind: "policy.activated",
    log: "shop",
    dedupKey: "policy/1",
    at,
    facts: { policySet, by: "bench" },
  });
  for (let run = 0, index = 1; index < size; run += 1) {
    const id = `run_${run.toString().padStart(26, "0")}`;
    let previous = noPrevious;
    for (let seq = 0; seq < entriesPerRun && index < size; seq += 1, index += 1) {
      const [kind, facts] = factsOf(id, seq, policySet, digest);
      const leaf = canonicalText({
        v: 1,
        kind,
        log: "shop",
        dedupKey: `${id}/${seq}`,
        at,
        run: { id, seq, prev: previous },
        facts,
      });
      previous = hexOf(leafHash(Buffer.from(leaf)));
      yield leaf;
    }
  }
}

function factsOf(
  id: string,
  place: number,
  policySet: string,
  digest: (text: string) => string,
): readonly [string, JsonObject] {
  if (place === 0)
    return ["run.started", { agent: "support", release: digest("release"), input: digest(id), requestedBy: "bench" }];
  if (place === entriesPerRun - 1)
    return ["run.closed", { status: "completed", steps: stepsPerRun, spentMicroUsd: 7 * stepsPerRun }];
  const seq = Math.floor((place - 1) / 3);
  const action = digest(`${id}.${seq}`);
  switch ((place - 1) % 3) {
    case 0:
      return [
        "step.decided",
        {
          seq,
          n: 0,
          step: "tool",
          name: "lookup_order",
          agent: "support",
          release: digest("release"),
          action,
          arguments: digest(action),
          outcome: "allow",
          policies: ["support/read"],
          policySet,
          request: digest(`${action}?`),
          activity: `${digest(id).slice(0, 36)}/${seq}`,
        },
      ];
    case 1:
      return ["step.intent", { seq, action, idempotencyKey: `${id}.${seq}`, heldMicroUsd: 0 }];
    default:
      return ["step.result", { seq, state: "done", costMicroUsd: 7, result: digest(`${action}!`) }];
  }
}
