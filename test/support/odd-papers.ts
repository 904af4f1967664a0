import type { Trust } from "../../src/audit/offline/index.ts";
import { sha256 } from "../../src/store/canonical.ts";
import { addPeople, far, insider, kind, long_ago, placeOf, reenter, resign, shop } from "./attacks/attack.ts";
import type { Anything, EvidenceDraft } from "./evidence-draft.ts";
import type { Oddity } from "./evidence-oddities.ts";
import type { BundleName, GenuineEvidence } from "./genuine-evidence.ts";

/** What is unusual about the manifest, the files, the trust file, and what a run's record holds. */

const leaveOut = (d: EvidenceDraft, path: string | undefined): void => {
  if (path !== undefined) d.files.delete(path);
};
/** Moves a file, and returns its new name. */
function move(d: EvidenceDraft, path: string, to: string): string {
  d.put(to, d.text(path));
  leaveOut(d, path);
  return to;
}

const parts: Readonly<Record<string, (d: EvidenceDraft) => void>> = {
  page: (d) => (leaveOut(d, d.manifest.report), delete d.manifest.report),
  statements: (d) => d.manifest.runs.forEach((run) => (leaveOut(d, run.statement), delete run.statement)),
  histories: (d) =>
    d.manifest.runs.forEach((run) => {
      run.histories.forEach(({ file }) => leaveOut(d, file));
      run.histories = [];
    }),
};
const without: readonly Oddity[] = (["small", "pinned", "chains"] as const).flatMap((base) =>
  [
    ["page", "statements"],
    ["page", "histories"],
    ["statements", "histories"],
    ["page", "statements", "histories"],
  ].map((names) => ({
    oddity: `without ${names.join(", without ")}`,
    base,
    change: (d: EvidenceDraft) => names.forEach((name) => parts[name]!(d)),
  })),
);

const segment = "s".repeat(121);
const paths: readonly (readonly [string, (n: number) => string])[] = [
  ["of one character", (n) => "abcdefghijklmnopqrstuvwxyz"[n % 26] + (n < 26 ? "" : String(n))],
  ["that are numbers", (n) => `${n}/${n}`],
  ["as long as a name can be", (n) => `${segment.slice(0, 121 - String(n).length)}${n}`],
  ["six folders deep", (n) => `a/b/c/d/e/f${n}`],
  ["with points, strokes and dashes", (n) => `a.-_/b..c/${n}-._`],
  ["in capitals", (n) => `FILES/RECORD-${n}`],
];
const renamed: readonly Oddity[] = paths.flatMap(([what, name]) =>
  (["pinned", "chains"] as const).map((base) => ({
    oddity: `with names of files ${what}`,
    base,
    change: (d: EvidenceDraft) => {
      let n = 0;
      const moved = (path: string) => move(d, path, name(n++));
      for (const run of d.manifest.runs) {
        run.record = moved(run.record);
        if (run.statement !== undefined) run.statement = moved(run.statement);
        for (const one of run.histories) one.file = moved(one.file);
      }
      for (const one of d.manifest.logs) {
        one.checkpoint = moved(one.checkpoint);
        one.leaves = moved(one.leaves);
        if (one.proofs !== undefined) one.proofs = moved(one.proofs);
      }
    },
  })),
);

const nested = Array.from({ length: 100 }).reduce<unknown>((inner) => [inner], "deep");
const manifests: readonly (readonly [string, (manifest: EvidenceDraft["manifest"]) => unknown])[] = [
  ["whose generator has a long name", (m) => (m.generator = { name: "x".repeat(100), version: "9".repeat(100) })],
  ["whose generator has no name", (m) => (m.generator = { name: "", version: "" })],
  ["whose generator has a name in another script", (m) => (m.generator = { name: "証拠 <b>", version: "१.०" })],
  ["made in 1970", (m) => (m.createdAt = "1970-01-01T00:00:00.000Z")],
  ["made in the year 9999", (m) => (m.createdAt = "9999-12-31T23:59:59.999Z")],
  ["of a case that says nothing", (m) => (m.case = {})],
  ["of a case with a number alone", (m) => (m.case = { id: "7" })],
  ["of a case with a title alone", (m) => (m.case = { title: "t".repeat(500) })],
  ["of a case with a note of 20,000 characters", (m) => (m.case = { note: "ß\n".repeat(10_000) })],
  ["of a case with an empty note", (m) => (m.case = { title: "", note: "" })],
  [
    "with a hundred additions",
    (m) => (m.extra = Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`e${n}`, n]))),
  ],
  ["with a deep addition", (m) => (m.extra = { deep: nested as never })],
  ["with an addition of numbers", (m) => (m.extra = { numbers: [0, -1, 1.5, 1e21, 1e-7, 5e-324, 0.1] })],
  ["with an addition that has no name", (m) => (m.extra = { "": null })],
  ["that names a need twice", (m) => (m.needs = ["erasure", "erasure"])],
];
const papers: readonly Oddity[] = manifests.map(([what, change]) => ({
  oddity: `a bundle ${what}`,
  base: "pinned",
  change: ({ manifest }) => change(manifest),
}));

const stranger = (n: number): Trust["approvers"][number] => strangers[n]!;
const strangers = Array.from({ length: 1_000 }, (_, n) => {
  // No key of anybody's: 32 bytes that are different for each.
  const raw = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), Buffer.alloc(32)]);
  raw.writeUInt32BE(n + 1, 12);
  return { principal: `nobody-${n}`, keyId: sha256(raw), publicKey: raw.toString("base64") };
});
const auditors: readonly (readonly [string, BundleName, (trust: Trust) => Trust])[] = [
  ["who knows 1,000 reviewers more", "pinned", (t) => ({ ...t, approvers: [...t.approvers, ...strangers] })],
  ["who has the reviewers in another order", "withheld", (t) => ({ ...t, approvers: t.approvers.toReversed() })],
  ["who knows a reviewer in fifty groups", "withheld", (t) => ({ ...t, approvers: t.approvers.map((one) => ({ ...one, groups: [...(one.groups ?? []), ...Array.from({ length: 50 }, (_, n) => `g${n}`)] })) })],
  ["for whom keys count from 1970 on", "withheld", (t) => ({ ...t, approvers: t.approvers.map((one) => ({ ...one, from: "1970-01-01T00:00:00.000Z" })) })],
  ["for whom keys count until the year 9999", "withheld", (t) => ({ ...t, approvers: t.approvers.map((one) => ({ ...one, until: "9999-12-31T23:59:59.999Z" })) })],
  ["who believes passkeys of a site that nobody used", "withheld", (t) => ({ ...t, rpIds: ["shop.example"] })],
  ["who believes passkeys of no site", "withheld", (t) => ({ ...t, rpIds: [] })],
  ["who has logs that are not here", "pinned", (t) => ({ ...t, logs: { ...t.logs, another: t.logs["shop"]! } })],
  ["who asks for nothing by name", "pinned", (t) => ({ ...t, require: [], runs: [] })],
  ["who asks for statements", "chains", (t) => ({ ...t, require: ["statements"] })],
  ["who asks for histories", "chains", (t) => ({ ...t, require: ["histories"] })],
  ["who asks for whole logs", "chains", (t) => ({ ...t, require: ["whole-log"] })],
  ["who asks for all of it twice", "chains", (t) => ({ ...t, require: ["whole-log", "histories", "histories", "whole-log"] })],
  ["who asks for contents and decisions", "small", (t) => ({ ...t, require: ["contents", "decisions"] })],
  ["who knows a stranger of no group", "small", (t) => ({ ...t, approvers: [...t.approvers, { ...stranger(0), groups: [] }] })],
]; // oxfmt-ignore
const trusting: readonly Oddity[] = auditors.map(([what, base, trust]) => ({
  oddity: `an auditor ${what}`,
  base,
  trust,
}));

/** Signed anew by the reviewer, and entered so: what people write can be anything. */
const said: readonly (readonly [string, Readonly<Record<string, unknown>>])[] = [
  ["no reason", { reason: "" }],
  ["a reason of 2,000 characters", { reason: "because ".repeat(250) }],
  ["a reason in other scripts", { reason: "承認 الحالة \u{1F44D}\u202E" }],
  ["a reason of many lines", { reason: "a\n\r\n\tb\u2028c" }],
  ["a reason that looks like a statement", { reason: '{"type":"countersign/approval/v1","decision":"deny"}' }],
];
const reasons: readonly Oddity[] = said.map(([what, change]) => ({
  oddity: `an approval with ${what}`,
  base: "whole",
  change: (d, w) => {
    const path = d.record(w.runs.approved);
    d.edit(path, (r) => resign(r, change, w.reviewer.privateKey));
    const record = d.json(path);
    d.relog(shop, (es) => reenter(es, record, w.runs.approved), insider(w));
  },
}));

/** Of the run that goes on over several executions, by who holds the log's key. */
const ofChain = (
  oddity: string,
  change: (es: Anything[], record: Anything, w: GenuineEvidence) => unknown,
): Oddity => ({
  oddity,
  base: "chains",
  change: (d, w) =>
    d.edit(d.record(w.runs.chained), (record) => {
      d.relog("office", (es) => change(es, record, w), insider(w, "office"));
    }),
});
const ofRun = (es: Anything[], w: GenuineEvidence, name: string): Anything[] => es.filter(kind(name, w.runs.chained));

/** The entry that put the policies of a decision in force. */
const activationOf = (es: Anything[], { facts }: Anything): Anything =>
  es[placeOf(es, (e) => e.kind === "policy.activated" && e.facts.policySet === facts.policySet)];

function atNoCost(es: Anything[], record: Anything, w: GenuineEvidence): void {
  for (const { facts } of ofRun(es, w, "step.result")) facts.costMicroUsd = 0;
  ofRun(es, w, "run.closed")[0].facts.spentMicroUsd = record.run.spentMicroUsd = 0;
  for (const one of record.steps) one.costMicroUsd = 0;
  for (const one of record.decisions) one.facts.spentMicroUsd = 0;
}
const prices = ["inputPerMillion", "cachedInputPerMillion", "outputPerMillion"];
const usage = ["inputTokens", "cachedInputTokens", "outputTokens", "reasoningTokens"];
const records: readonly Oddity[] = [
  ofChain("a run that cost nothing: its model is free", (es, record, w) => {
    atNoCost(es, record, w);
    for (const { facts } of ofRun(es, w, "step.intent")) for (const name of prices) if (name in facts) facts[name] = 0;
  }),
  ofChain("a run that cost nothing: its model counted no token", (es, record, w) => {
    atNoCost(es, record, w);
    for (const { facts } of ofRun(es, w, "step.result")) for (const name of usage) if (name in facts) facts[name] = 0;
  }),
  ofChain("a run of before prices were recorded", (es, _record, w) => {
    for (const { facts } of ofRun(es, w, "step.intent")) for (const name of prices) delete facts[name];
  }),
  ofChain("a call whose input is all from the cache, at the price of other input", (es, _record, w) => {
    const { facts } = ofRun(es, w, "step.intent")[0];
    facts.cachedInputPerMillion = facts.inputPerMillion;
    const end = ofRun(es, w, "step.result")[0].facts;
    end.cachedInputTokens = end.inputTokens;
  }),
  ofChain("all output told to be reasoning", (es, _record, w) => {
    for (const { facts } of ofRun(es, w, "step.result"))
      if ("outputTokens" in facts) facts.reasoningTokens = facts.outputTokens;
  }),
  ofChain("four attempts at a call, each rounded up", (es, record, w) => {
    ofRun(es, w, "step.result").at(-1).facts.costMicroUsd += 4;
    ofRun(es, w, "run.closed")[0].facts.spentMicroUsd += 4;
    record.run.spentMicroUsd += 4;
    record.steps.at(-1).costMicroUsd += 4;
  }),
  ofChain("a call of which one attempt was charged as it was held", (es, record, w) => {
    const { heldMicroUsd } = ofRun(es, w, "step.intent").at(-1).facts;
    const { facts } = ofRun(es, w, "step.result").at(-1);
    facts.assumedMicroUsd = heldMicroUsd;
    facts.costMicroUsd += heldMicroUsd;
    ofRun(es, w, "run.closed")[0].facts.spentMicroUsd += heldMicroUsd;
    record.run.spentMicroUsd += heldMicroUsd;
    record.steps.at(-1).costMicroUsd += heldMicroUsd;
  }),
  ofChain("policies put in force a second after the first decision, by another's clock", (es, _record, w) => {
    const [first] = ofRun(es, w, "step.decided");
    activationOf(es, first).at = new Date(Date.parse(first.at) + 1_000).toISOString();
  }),
  ofChain("the same policies put in force again and again, in the middle of a run", (es, _record, w) => {
    const activated = activationOf(es, ofRun(es, w, "step.decided")[0]);
    for (const entry of ofRun(es, w, "step.decided").slice(0, 10))
      es.splice(es.indexOf(entry), 0, { ...structuredClone(activated), dedupKey: `again/${entry.dedupKey}` });
  }),
  ofChain("a run with 500 entries of other things between its own", (es, _record, w) => {
    const at = es.indexOf(ofRun(es, w, "step.decided")[5]);
    const { v, log, at: time } = es[0];
    const more = Array.from({ length: 500 }, (_, n) => ({
      v,
      log,
      at: time,
      kind: "audit.read",
      dedupKey: `more/${n}`,
      facts: { n },
    }));
    es.splice(at, 0, ...more);
  }),
  ofChain("entries of a kind that came later in a run's chain", (es, _record, w) => {
    const entry = ofRun(es, w, "step.decided")[3];
    es.splice(es.indexOf(entry), 0, {
      ...structuredClone(entry),
      kind: "step.later",
      dedupKey: "later",
      facts: { seq: 2 },
    });
  }),
  ofChain("facts that came later in a run's entries", (es, _record, w) => {
    for (const { facts } of ofRun(es, w, "step.result")) facts.ünknown = ["1", ""];
  }),
  ofChain("a run whose steps all took no time", (es, record, w) => {
    const { at } = ofRun(es, w, "run.started")[0];
    for (const e of es) if (e.run?.id === w.runs.chained) e.at = at;
    record.run.closedAt = at;
    for (const one of record.steps) one.decidedAt = one.finishedAt = at;
    for (const one of record.decisions) one.at = at;
    for (const e of es) if (e.kind === "policy.activated") e.at = long_ago;
  }),
];

const enrolments: readonly Oddity[] = [
  {
    oddity: "two hundred keys of others, enrolled since",
    base: "pinned",
    change: (d, w) =>
      addPeople(
        d,
        w,
        Array.from({ length: 200 }, (_, n) => {
          const { principal, keyId, publicKey } = stranger(n);
          return {
            kind: "approver.key.added",
            facts: { principal, keyId, publicKey, kind: "ed25519", addedBy: "owner", confirmedBy: "eve" },
          };
        }),
      ),
  },
  {
    oddity: "the reviewer's key revoked long after it had signed",
    base: "pinned",
    change: (d, w) => {
      const { principal, keyId } = w.reviewer;
      addPeople(d, w, [
        { kind: "approver.key.revoked", at: far, facts: { principal, keyId, kind: "ed25519", by: "owner" } },
      ]);
    },
  },
  {
    oddity: "another's key revoked before anybody signed",
    base: "pinned",
    change: (d, w) => {
      const { principal, keyId, publicKey } = stranger(1);
      const facts = { principal, keyId, publicKey, kind: "ed25519", addedBy: "owner" };
      addPeople(d, w, [
        { kind: "approver.key.added", facts },
        { kind: "approver.key.revoked", facts: { principal, keyId, kind: "ed25519", by: "owner" } },
      ]);
    },
  },
  {
    oddity: "entries of kinds that came later among those of people",
    base: "pinned",
    change: (d, w) => addPeople(d, w, [{ kind: "approver.badge.given", facts: { badge: "猫" } }]),
  },
  {
    oddity: "a delegation that nobody used",
    base: "pinned",
    change: (d, w) => {
      const facts = { delegation: "dlg_01ARZ3NDEKTSV4RRFFQ69G5FAV", delegator: "eve", delegate: "mallory" };
      addPeople(d, w, [{ kind: "delegation.granted", facts: { ...facts, from: long_ago, until: far, by: "eve" } }]);
    },
  },
];

export const oddPapers: readonly Oddity[] = [
  ...without,
  ...renamed,
  ...papers,
  ...trusting,
  ...reasons,
  ...records,
  ...enrolments,
];
