import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { exportBundle } from "../../src/audit/index.ts";
import type { ExportOptions } from "../../src/audit/index.ts";
import { trustFormat } from "../../src/audit/offline/index.ts";
import type { Trust } from "../../src/audit/offline/index.ts";
import { evidenceSource } from "../../src/cli/evidence-source.ts";
import { createClient } from "../../src/api/index.ts";
import { addReviewerKey, keyIdOf, publicKeyOf } from "../../src/approvals/index.ts";
import { exampleAgent, registerExample, startExampleRun } from "../../src/cli/example.ts";
import { signDecision, signStatementOf } from "../../src/cli/sign-decision.ts";
import type { RunId } from "../../src/core/ids.ts";
import type { Json, JsonObject } from "../../src/core/json.ts";
import { appendToOutbox } from "../../src/ledger/index.ts";
import { hashToken, newToken, putPrincipal } from "../../src/registry/index.ts";
import { keyAdded } from "../../src/server/index.ts";
import { createPool } from "../../src/store/index.ts";
import { loadPolicyDirectory } from "../../src/policy/index.ts";
import { contentDigest } from "../../src/store/canonical.ts";
import type { RunningStack } from "../e2e/running-stack.ts";

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
] as const;
export type RunName = (typeof runNames)[number];

/** `withheld` and `pinned` are without contents; `everything` has all runs, `nothing` none, the others one to three. */
export const bundleNames = ["selected", "whole", "withheld", "pinned", "small", "everything", "nothing"] as const;
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

/** Reasons and questions are in many scripts: bytes, not characters, are what is signed. */
export const reason = "ja ✓ 承認 — \u{1F44D}\u202Eevil";

export async function genuineEvidence(stack: RunningStack): Promise<GenuineEvidence> {
  await registerExample(stack.operator);
  const refund = (order: string) =>
    `Please refund $60.00 for order ${order}, the grinder is faulty. Größe 猫 \u{1F63A}`;
  const approved = await decided(stack, refund("A-1002"), "approve");
  const pinned = (await stack.operator.checkpoint({ params: { log: "shop" } })).checkpoint;
  const [twin, declined, denied, asked, cancelled] = await Promise.all([
    decided(stack, refund("A-1002"), "approve"),
    decided(stack, refund("A-1002"), "deny"),
    decided(stack, "Please refund $600.00 for order A-1002, all of it.", "deny"),
    decided(stack, "Where is my order A-1001?", "deny"),
    cancel(stack, refund("A-1002")),
  ]);
  // A second set in force: the first one, with a remark.
  const { document } = await loadPolicyDirectory("policies/support");
  const [first, ...others] = document.policies;
  const policies = [{ ...first!, text: `// from here on\n${first!.text}` }, ...others];
  await stack.operator.activatePolicies({ params: { team: "shop" }, body: { document: { v: 1, policies } } });
  const later = await decided(stack, refund("A-1002"), "approve");
  const edited = await changed(stack, refund("A-1002"));
  const second = await secondReviewer(stack);
  const ahead = await grantedAhead(stack, second, refund("A-1002"));
  const runs = { approved, twin, declined, denied, asked, cancelled, later, edited, ahead };
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
    nothing: await write("nothing", { runs: [] }),
  };
  return {
    folder,
    runs,
    bundles,
    pinned,
    ...(await keysOf(stack, second)),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

type Second = { readonly principal: string; readonly token: string; readonly privateKey: string };

/** What is granted ahead takes two people. */
async function secondReviewer({ databaseUrl }: RunningStack): Promise<Second> {
  const privateKey = generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" }).toString();
  const [principal, token] = ["trudy", newToken()];
  const pool = createPool({ url: databaseUrl });
  try {
    const person = { id: principal, displayName: principal, roles: ["reviewer"], groups: ["treasury"] } as const;
    await putPrincipal(pool, person, hashToken(token));
    const publicKey = publicKeyOf(privateKey);
    const { key } = await addReviewerKey(pool, { principal, publicKey, addedBy: "owner", now: new Date() });
    await appendToOutbox(pool, [keyAdded(key)]);
  } finally {
    await pool.end();
  }
  return { principal, token, privateKey };
}

/** A run whose refund two people have granted before it was asked for. */
async function grantedAhead(stack: RunningStack, second: Second, prompt: string): Promise<RunId> {
  const { terms, statement } = await stack.reviewer.draftStanding({
    body: {
      ...exampleAgent,
      tool: "refund",
      policies: ["refund/needs-a-person"],
      targets: [{ argument: "order_id", like: "A-*" }],
      unconstrained: ["reason"],
      uses: 3,
      sum: { argument: "amount_cents", max: 20_000 },
      until: new Date(Date.now() + 86_400_000).toISOString(),
      reason,
    },
  });
  const key = readFileSync(join(stack.home, "secrets/reviewer.pem"), "utf8");
  const own = await signStatementOf(stack.reviewer, statement, {}, key);
  const { grant } = await stack.reviewer.proposeStanding({ body: { ...own.body, terms: terms as never } });
  const client = createClient({ baseUrl: stack.url, token: second.token });
  const { statement: template } = await client.showStanding({ params: { grant: grant.id } });
  const { body } = await signStatementOf(client, template, {}, second.privateKey);
  await client.approveStanding({ params: { grant: grant.id }, body });
  const run = await decided(stack, prompt, "deny");
  await stack.reviewer.revokeStanding({ params: { grant: grant.id } });
  return run;
}

async function keysOf(
  stack: RunningStack,
  second: Second,
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
      logs: { shop: { verifierKeys: [await keyOf("shop")] }, people: { verifierKeys: [await keyOf("people")] } },
      approvers: [
        { principal, keyId, publicKey, groups: ["treasury", "budget", "reviewers"] },
        {
          principal: second.principal,
          keyId: keyIdOf(publicKeyOf(second.privateKey)),
          publicKey: publicKeyOf(second.privateKey),
          groups: ["treasury"],
        },
      ],
    },
    operatorSeed: seed.export({ format: "der", type: "pkcs8" }).subarray(-32),
    reviewer: { principal, keyId, privateKey: readFileSync(join(stack.home, "secrets/reviewer.pem"), "utf8") },
  };
}

async function decided(stack: RunningStack, prompt: string, decision: "approve" | "deny"): Promise<RunId> {
  const run = await startExampleRun(stack.operator, prompt);
  const key = readFileSync(join(stack.home, "secrets/reviewer.pem"), "utf8");
  for (;;) {
    const { run: view, approvals } = await stack.operator.showRun({ params: { run } });
    if (view.closedAt !== null) return run;
    for (const { id, state } of approvals) {
      if (state !== "pending") continue;
      const detail = await stack.reviewer.showApproval({ params: { approval: id } });
      await signDecision(stack.reviewer, detail, decision, reason, key);
    }
    await sleep(100);
  }
}

/** Asked about, and changed to what needs nobody. */
async function changed(stack: RunningStack, prompt: string): Promise<RunId> {
  const run = await startExampleRun(stack.operator, prompt);
  const key = readFileSync(join(stack.home, "secrets/reviewer.pem"), "utf8");
  for (;;) {
    const { run: view, approvals } = await stack.operator.showRun({ params: { run } });
    if (view.closedAt !== null) return run;
    for (const { id, state } of approvals) {
      if (state !== "pending") continue;
      await stack.reviewer.askApproval({ params: { approval: id }, body: { text: reason } });
      const { call, rendered, salt, statement } = await stack.reviewer.showApproval({ params: { approval: id } });
      const action = call as { readonly arguments: JsonObject };
      const args = { ...action.arguments, amount_cents: 1_000 };
      const digestOf = (value: Json) => contentDigest(salt ?? undefined, value);
      const template = {
        ...statement,
        type: "countersign/edit/v1",
        rendered: digestOf(rendered),
        edited: digestOf({ ...action, arguments: args }),
        arguments: digestOf(args),
      };
      const { body } = await signStatementOf(stack.reviewer, template, { reason }, key);
      await stack.reviewer.editApproval({ params: { approval: id }, body: { ...body, arguments: args } });
    }
    await sleep(100);
  }
}

async function cancel(stack: RunningStack, prompt: string): Promise<RunId> {
  const run = await startExampleRun(stack.operator, prompt);
  await stack.operator.cancelRun({ params: { run } });
  for (;;) {
    if ((await stack.operator.showRun({ params: { run } })).run.closedAt !== null) return run;
    await sleep(100);
  }
}
