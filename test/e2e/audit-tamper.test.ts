import { generateKeyPairSync, randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { keyIdOf, publicKeyOf, signStatement, statementText, parseStatement } from "../../src/approvals/index.ts";
import type { ApprovalStatement } from "../../src/approvals/index.ts";
import { registerExample, startExampleRun } from "../../src/cli/example.ts";
import type { Digest, RunId } from "../../src/core/ids.ts";
import type { Json } from "../../src/core/json.ts";
import { createSigner } from "../../src/ledger/index.ts";
import { parseNote, signNote } from "../../src/ledger/proof/index.ts";
import { canonicalText, contentDigest, digestOf, sha256 } from "../../src/store/canonical.ts";
import { auditOf, problemsOf, startRunningStack } from "./running-stack.ts";
import type { Evidence, RunningStack } from "./running-stack.ts";

/** Two runs alike, each with a refund that a reviewer approved, and a third whose refund was declined. */
const prompt = "Please refund $60.00 for order A-1002, the grinder is faulty.";
let stack: RunningStack;
let approved: Evidence;
let twin: Evidence;
let declined: Evidence;

beforeAll(async () => {
  stack = await startRunningStack();
  await registerExample(stack.operator);
  approved = await stack.evidence(await decidedRun("approve"));
  twin = await stack.evidence(await decidedRun("approve"));
  declined = await stack.evidence(await decidedRun("deny"));
});
afterAll(() => stack.stop());

async function decidedRun(decision: "approve" | "deny"): Promise<RunId> {
  const run = await startExampleRun(stack.operator, prompt);
  for (;;) {
    const { run: view, approvals } = await stack.operator.showRun({ params: { run } });
    if (view.closedAt !== null) return run;
    for (const { id, state } of approvals) if (state === "pending") await stack.decide(id, decision);
    await sleep(100);
  }
}

type Draft<Value> = Value extends string
  ? Value
  : Value extends readonly (infer Item)[]
    ? Draft<Item>[]
    : Value extends object
      ? { -readonly [Key in keyof Value]: Draft<Value[Key]> }
      : Value;
type DraftEvidence = { record: Draft<Evidence["record"]>; code: string; verifierKey: string };
type DraftRecord = DraftEvidence["record"];
type Tamper = (evidence: DraftEvidence) => void;

function found<Item>(item: Item | undefined): Item {
  if (item === undefined) throw new Error("there is nothing to tamper with");
  return item;
}

const step = (record: DraftRecord, name: string) => found(record.steps.find((candidate) => candidate.name === name));
const decisionOf = (record: DraftRecord, outcome: string) =>
  found(record.decisions.find((candidate) => candidate.outcome === outcome));
const request = (record: DraftRecord) => found(record.approvals[0]);
const signed = (record: DraftRecord) => found(request(record).decisions[0]);

/** As who holds the store would do it: the new contents under their own digest. */
function put(record: DraftRecord, value: unknown): Digest {
  const digest = contentDigest(record.salt, value as Json);
  record.payloads[digest] = value as never;
  return digest;
}

/** The refund's decision, signed anew with a key of the attacker's. */
function resign(record: DraftRecord, change: Partial<ApprovalStatement>): void {
  const key = generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" }).toString();
  const statement = statementText({ ...parseStatement(signed(record).statement), ...change });
  const publicKey = publicKeyOf(key);
  Object.assign(signed(record), {
    statement,
    signature: signStatement(statement, key),
    publicKey,
    keyId: keyIdOf(publicKey),
  });
  if (change.reviewer !== undefined) signed(record).reviewer = change.reviewer;
}

type Event = { [name: string]: Json };
const eventsOf = (record: DraftRecord, execution = 0) =>
  (found(record.histories[execution]).history as unknown as { events: Event[] }).events;
const typed = (record: DraftRecord, type: string) =>
  found(eventsOf(record).find((event) => event["eventType"] === `EVENT_TYPE_${type}`));
type Scheduled = { input: { payloads: { data: string }[] }; activityId: string };
const scheduled = (record: DraftRecord) =>
  typed(record, "ACTIVITY_TASK_SCHEDULED")["activityTaskScheduledEventAttributes"] as unknown as Scheduled;

function editLeaf(record: DraftRecord, kind: string, change: (facts: Record<string, Json>) => void): void {
  const entry = found(record.ledger.entries.find(({ leaf }) => leaf.includes(`"kind":"${kind}"`)));
  const value = JSON.parse(entry.leaf) as { facts: Record<string, Json> };
  change(value.facts);
  entry.leaf = canonicalText(value as unknown as Json);
}

/** The context's entries that put sets in force, or the others. */
const activated = (record: DraftRecord, are: boolean) =>
  (record.context ?? []).filter(({ leaf }) => leaf.includes('"kind":"policy.activated"') === are);

const reviewerOf = (record: DraftRecord) => signed(record).reviewer;

/** What is done to the record, and the check that must notice. */
const tamperings: readonly (readonly [string, string, Tamper])[] = [
  [
    "a payload's contents changed in place",
    "contents",
    ({ record }) => {
      const result = found(step(record, "lookup_order").result ?? undefined);
      record.payloads[result] = { status: "ok", value: { order_id: "A-1002", paid_cents: 1 } };
    },
  ],
  [
    "the release's prompt changed in place",
    "contents",
    ({ record }) => (record.release.prompt += " Refund everything."),
  ],
  [
    "the release changed, with its digest",
    "join",
    ({ record }) => {
      record.release.prompt += " Refund everything.";
      record.run.release = digestOf(record.release as unknown as Json);
    },
  ],
  ["the user's prompt changed in place", "contents", ({ record }) => (record.input.prompt = "Refund it all.")],
  [
    "the user's prompt changed, with its digest",
    "join",
    ({ record }) => {
      record.input.prompt = "Refund it all.";
      record.run.input = contentDigest(record.salt, record.input as unknown as Json);
    },
  ],
  [
    "the answer that the user got replaced, with its digest",
    "join",
    ({ record }) => (record.run.result = put(record, { text: "No." })),
  ],
  [
    "the answer's contents left out",
    "contents",
    ({ record }) => delete record.payloads[found(record.run.result ?? undefined)],
  ],
  [
    "what the reviewers were shown, by a gate that showed something else",
    "join",
    ({ record }) => editLeaf(record, "approval.requested", (facts) => (facts["rendered"] = put(record, "all is well"))),
  ],
  [
    "what the reviewer was shown left out",
    "approvals",
    ({ record }) => {
      delete record.payloads[parseStatement(signed(record).statement).rendered];
    },
  ],
  ["a decision flipped", "decisions", ({ record }) => (decisionOf(record, "require_approval").outcome = "allow")],
  [
    "a decision removed",
    "join",
    ({ record }) => record.decisions.splice(record.decisions.indexOf(decisionOf(record, "require_approval")), 1),
  ],
  [
    "a decision's policies changed",
    "join",
    ({ record }) => (decisionOf(record, "require_approval").policies = ["refund/permit"]),
  ],
  [
    "a decision's time moved before the approval",
    "join",
    ({ record }) => {
      found(record.decisions.find(({ n }) => n === 1)).at = request(record).openedAt;
    },
  ],
  [
    "a decision's facts changed",
    "decisions",
    ({ record }) => (decisionOf(record, "require_approval").facts.spentMicroUsd += 1),
  ],
  ["a decision told of another attempt", "join", ({ record }) => (decisionOf(record, "allow").activity += "0")],
  ["a step removed", "decisions", ({ record }) => record.steps.splice(record.steps.indexOf(step(record, "refund")), 1)],
  [
    "a step removed with its decisions",
    "history",
    ({ record }) => {
      const { seq } = step(record, "refund");
      record.steps = record.steps.filter((one) => one.seq !== seq);
      record.decisions = record.decisions.filter((one) => one.seq !== seq);
    },
  ],
  [
    "a step that nobody asked for added",
    "history",
    ({ record }) => record.steps.push({ ...step(record, "refund"), seq: record.steps.length }),
  ],
  [
    "a step's result swapped with another's",
    "join",
    ({ record }) => {
      const [first, second] = [step(record, "lookup_order"), step(record, "refund")];
      [first.result, second.result] = [second.result, first.result];
    },
  ],
  [
    "a step's result replaced, with its digest",
    "join",
    ({ record }) => {
      step(record, "refund").result = put(record, { status: "ok", value: { order_id: "A-1002", amount_cents: 1 } });
    },
  ],
  [
    "a step told to be of another kind of call",
    "decisions",
    ({ record }) => (step(record, "refund").name = "lookup_order"),
  ],
  ["a step's end moved in time", "join", ({ record }) => (step(record, "refund").finishedAt = record.run.createdAt)],
  ["a done step told to have failed", "join", ({ record }) => (step(record, "refund").state = "failed")],
  ["a step's cost changed", "costs", ({ record }) => (found(record.steps[0]).costMicroUsd += 1)],
  [
    "costs moved between steps",
    "join",
    ({ record }) => {
      found(record.steps[0]).costMicroUsd -= 1;
      found(record.steps[2]).costMicroUsd += 1;
    },
  ],
  [
    "a call's usage and its cost raised alike, so that the sums fit",
    "costs",
    ({ record }) => {
      editLeaf(record, "step.result", (facts) => (facts["inputTokens"] = Number(facts["inputTokens"]) * 2));
    },
  ],
  [
    "the price that a call was begun at changed",
    "costs",
    ({ record }) => {
      editLeaf(record, "step.intent", (facts) => (facts["outputPerMillion"] = Number(facts["outputPerMillion"]) * 3));
    },
  ],
  [
    "more told to have been spent when a decision was made",
    "costs",
    ({ record }) => (found(record.decisions.at(-1)).facts.spentMicroUsd += 500),
  ],
  ["a limit that the run's calls had no room in", "costs", ({ record }) => (record.release.limits.maxCostMicroUsd = 1)],
  [
    "the set that was in force never put in force",
    "policies",
    ({ record }) => (record.context = activated(record, false)),
  ],
  [
    "the set replaced before a decision was made under it",
    "policies",
    ({ record }) => {
      const [last] = activated(record, true).toReversed();
      const decided = found(record.ledger.entries.find(({ leaf }) => leaf.includes('"kind":"step.decided"')));
      const entry = JSON.parse(found(last).leaf) as { at: string; facts: Record<string, Json> };
      entry.at = new Date(Date.parse((JSON.parse(decided.leaf) as { at: string }).at) - 60_000).toISOString();
      entry.facts["policySet"] = sha256("another set");
      const leaf = canonicalText(entry as unknown as Json);
      record.context = [...(record.context ?? []), { index: decided.index - 1, leaf }];
    },
  ],
  [
    "an activation moved to before the decision that it came after",
    "policies",
    ({ record }) => {
      for (const entry of activated(record, true)) entry.index = 1_000_000;
    },
  ],
  [
    "decisions moved to another set, everywhere but in the ledger",
    "policies",
    ({ record }) => {
      const other = sha256("another set");
      record.policySets[other] = found(Object.values(record.policySets)[0]);
      for (const decision of record.decisions) decision.policySet = other;
    },
  ],
  ["the run's cost changed", "join", ({ record }) => (record.run.spentMicroUsd -= 1)],
  ["the run told to be another agent's", "join", ({ record }) => (record.run.agent = "billing")],
  ["the run told to have been cancelled", "join", ({ record }) => (record.run.status = "cancelled")],
  [
    "the run told to have failed, for a reason",
    "history",
    ({ record }) => (record.run.failure = { code: "internal", message: "so it goes" }),
  ],
  [
    "the run told to be open",
    "join",
    ({ record }) => {
      record.run.status = "running";
      record.run.closedAt = null;
    },
  ],
  ["the run's end moved in time", "join", ({ record }) => (record.run.closedAt = record.run.createdAt)],
  ["who asked changed to who approved", "approvals", ({ record }) => (record.run.requestedBy = reviewerOf(record))],
  ["who asked changed to somebody else", "join", ({ record }) => (record.run.requestedBy = "mallory")],
  [
    "an approval's signature changed",
    "approvals",
    ({ record }) => {
      const bytes = Buffer.from(signed(record).signature, "base64");
      bytes[0] = (bytes[0] ?? 0) ^ 1;
      signed(record).signature = bytes.toString("base64");
    },
  ],
  ["an approval's reviewer changed", "approvals", ({ record }) => (signed(record).reviewer = "mallory@reviewer")],
  ["an approval signed again with another key", "join", ({ record }) => resign(record, {})],
  [
    "an approval signed again as somebody else",
    "join",
    ({ record }) => resign(record, { reviewer: "mallory@reviewer" }),
  ],
  [
    "an approval signed again over another text",
    "join",
    ({ record }) => resign(record, { rendered: put(record, "nothing to see") }),
  ],
  [
    "an approval of another run moved in",
    "approvals",
    ({ record }) => {
      request(record).decisions = structuredClone(found(twin.record.approvals[0]).decisions) as never;
    },
  ],
  ["an approval removed", "approvals", ({ record }) => (record.approvals = [])],
  [
    "a second reviewer's approval added",
    "join",
    ({ record }) => {
      const before = structuredClone(signed(record));
      resign(record, { reviewer: "mallory@reviewer" });
      request(record).decisions.push(before);
    },
  ],
  ["an approval told not to have been used", "approvals", ({ record }) => (request(record).state = "approved")],
  ["the quorum lowered", "join", ({ record }) => (found(request(record).requirements[0]).quorum = 0)],
  [
    "the group that had to agree changed",
    "join",
    ({ record }) => (found(request(record).requirements[0]).group = "everybody"),
  ],
  [
    "the request's life made longer",
    "approvals",
    ({ record }) => (request(record).expiresAt = "2099-01-01T00:00:00.000Z"),
  ],
  [
    "a policy changed in place",
    "contents",
    ({ record }) => {
      const set = found(Object.values(record.policySets)[0]) as unknown as { policies: { text: string }[] };
      for (const policy of set.policies) policy.text = policy.text.replaceAll("5000", "6000");
    },
  ],
  [
    "the policy set changed, with its digest everywhere",
    "decisions",
    ({ record }) => {
      const set = found(Object.values(record.policySets)[0]) as unknown as { policies: { text: string }[] };
      for (const policy of set.policies) policy.text = policy.text.replaceAll("5000", "7000");
      const digest = digestOf(set as unknown as Json);
      record.policySets = { [digest]: set } as never;
      for (const decision of record.decisions) decision.policySet = digest;
    },
  ],
  ["a ledger entry removed", "chain", ({ record }) => record.ledger.entries.splice(3, 1)],
  ["the last ledger entry removed", "chain", ({ record }) => record.ledger.entries.pop()],
  [
    "ledger entries in another order",
    "chain",
    ({ record }) => {
      record.ledger.entries.splice(2, 2, found(record.ledger.entries[3]), found(record.ledger.entries[2]));
    },
  ],
  [
    "a ledger entry edited, where nothing else looks",
    "inclusion",
    ({ record }) => {
      editLeaf(record, "step.intent", (facts) => (facts["heldMicroUsd"] = 1));
    },
  ],
  [
    "a ledger entry's proof replaced",
    "inclusion",
    ({ record }) => {
      found(record.ledger.entries[1]).proof = found(record.ledger.entries[2]).proof ?? [];
    },
  ],
  [
    "the checkpoint signed again with another key",
    "signature",
    ({ record }) => {
      const { text } = parseNote(found(record.ledger.checkpoint ?? undefined));
      const signer = createSigner(text.split("\n")[0] ?? "", randomBytes(32));
      record.ledger.checkpoint = signNote(text, [signer]);
      record.ledger.verifierKey = signer.verifierKey;
    },
  ],
  [
    "the checkpoint's size changed",
    "signature",
    ({ record }) => {
      record.ledger.checkpoint = (record.ledger.checkpoint ?? "").replace(/\n\d+\n/, "\n999\n");
    },
  ],
  [
    "an activity's input changed in the history",
    "history",
    ({ record }) => {
      const payload = found(scheduled(record).input.payloads[0]);
      const input = JSON.parse(Buffer.from(payload.data, "base64").toString()) as { seq: number };
      payload.data = Buffer.from(JSON.stringify({ ...input, seq: input.seq + 1 })).toString("base64");
    },
  ],
  [
    "an activity's input in the history made unreadable",
    "history",
    ({ record }) => {
      found(scheduled(record).input.payloads[0]).data = Buffer.from("{").toString("base64");
    },
  ],
  [
    "an activity removed from the history",
    "history",
    ({ record }) => {
      const events = eventsOf(record);
      const from = events.indexOf(typed(record, "ACTIVITY_TASK_SCHEDULED"));
      events.splice(from, 3);
    },
  ],
  [
    "a local activity removed from the history",
    "history",
    ({ record }) => {
      const events = eventsOf(record);
      events.splice(events.indexOf(typed(record, "MARKER_RECORDED")), 1);
    },
  ],
  [
    "the signal of the approval removed from the history",
    "history",
    ({ record }) => {
      const events = eventsOf(record);
      events.splice(events.indexOf(typed(record, "WORKFLOW_EXECUTION_SIGNALED")), 1);
    },
  ],
  [
    "the workflow told to have been started for another run",
    "history",
    ({ record }) => {
      const started = typed(record, "WORKFLOW_EXECUTION_STARTED")[
        "workflowExecutionStartedEventAttributes"
      ] as unknown as Scheduled;
      found(started.input.payloads[0]).data = Buffer.from(JSON.stringify({ run: twin.record.run.id })).toString(
        "base64",
      );
    },
  ],
  [
    "the history of another run that did the same",
    "history",
    ({ record }) => {
      record.histories = structuredClone(twin.record.histories) as never;
    },
  ],
  [
    "the history told to be another execution's",
    "history",
    ({ record }) => {
      found(record.histories[0]).temporalRunId = found(twin.record.histories[0]).temporalRunId;
    },
  ],
  ["workflow code that does the same, and is not what ran", "history", (evidence) => (evidence.code += "\n;")],
  [
    "workflow code other than what ran, with its digest",
    "join",
    (evidence) => {
      evidence.code += "\n;";
      evidence.record.run.workflowBundle = sha256(evidence.code);
    },
  ],
];

async function audited(evidence: Evidence, tamper: Tamper) {
  const draft = structuredClone(evidence) as unknown as DraftEvidence;
  tamper(draft);
  const { replay, evidence: ledger } = await auditOf(draft as unknown as Evidence);
  const checks = [...replay.checks, ...ledger.checks];
  return {
    verdicts: [replay.verdict, ledger.verdict],
    failed: checks.filter(({ status }) => status === "failed").map(({ name }) => name),
  };
}

test("untouched, all three runs are verified", async () => {
  expect(request(approved.record as DraftRecord).state).toBe("consumed");
  expect(request(declined.record as DraftRecord).state).toBe("denied");
  for (const evidence of [approved, twin, declined]) {
    const reports = await auditOf(evidence);
    expect([...problemsOf(reports.replay), ...problemsOf(reports.evidence)]).toEqual([]);
    expect([reports.replay.verdict, reports.evidence.verdict]).toEqual(["verified", "verified"]);
  }
});

describe("an approved run", () => {
  test.each(tamperings)("%s: refuted by %s", async (_, check, tamper) => {
    const { verdicts, failed } = await audited(approved, tamper);
    expect(failed).toContain(check);
    expect(verdicts).toContain("refuted");
  });

  test("a history cut off before its end, or left out, is not taken for a whole one", async () => {
    const cuts: readonly Tamper[] = [
      ({ record }) => eventsOf(record).splice(-1),
      ({ record }) => eventsOf(record).splice(-3),
      ({ record }) => eventsOf(record).splice(20),
      ({ record }) => (record.histories = []),
    ];
    for (const cut of cuts) expect((await audited(approved, cut)).verdicts[0]).not.toBe("verified");
  });

  test("without a checkpoint, or with entries that it does not cover, the evidence is incomplete", async () => {
    const lacks: readonly Tamper[] = [
      ({ record }) => (record.ledger.checkpoint = null),
      ({ record }) => delete found(record.ledger.entries[0]).proof,
    ];
    for (const lack of lacks) expect((await audited(approved, lack)).verdicts).toEqual(["verified", "incomplete"]);
  });
});

test("what is said to be on its way to the ledger makes nothing verified", async () => {
  const hides: readonly Tamper[] = [
    ({ record }) => (request(record).decisions = []),
    ({ record }) => (step(record, "refund").costMicroUsd += 1),
    ({ record }) => record.ledger.entries.pop(),
  ];
  for (const hide of hides) {
    const tamper: Tamper = (evidence) => {
      hide(evidence);
      Object.assign(evidence.record.ledger, { waiting: 3 });
    };
    expect((await audited(approved, tamper)).verdicts[1]).not.toBe("verified");
  }
});

describe("a declined run", () => {
  test.each<readonly [string, string, Tamper]>([
    ["the refusal removed", "join", ({ record }) => (request(record).decisions = [])],
    ["the refusal told to be an agreement", "approvals", ({ record }) => (signed(record).decision = "approve")],
    ["the refusal signed again as an agreement", "approvals", ({ record }) => resign(record, { decision: "approve" })],
    ["the refused request told to have expired", "join", ({ record }) => (request(record).state = "expired")],
    [
      "the denial told to be for another reason",
      "join",
      ({ record }) => (decisionOf(record, "deny").code = "approval_expired"),
    ],
    [
      "the denial told to be the policy's",
      "join",
      ({ record }) => (decisionOf(record, "deny").policies = ["refund/limit"]),
    ],
    ["the denied call told to have been made", "join", ({ record }) => (step(record, "refund").state = "done")],
    [
      "what the agent was told replaced, with its digest",
      "decisions",
      ({ record }) => {
        step(record, "refund").result = put(record, { status: "denied", code: "declined", message: "never" });
      },
    ],
  ])("%s: refuted by %s", async (_, check, tamper) => {
    const { verdicts, failed } = await audited(declined, tamper);
    expect(failed).toContain(check);
    expect(verdicts).toContain("refuted");
  });
});
