import type { Anything, EvidenceDraft } from "../evidence-draft.ts";
import type { GenuineEvidence } from "../genuine-evidence.ts";
import { drop, insider, kind, ofStep, placeOf, shop } from "./attack.ts";
import type { Attack } from "./attack.ts";

/** By who holds the log's key: entries of the approved run's first model call, and all of its run. */
const ofLog = (attack: string, change: (es: Anything[], w: GenuineEvidence, d: EvidenceDraft) => unknown): Attack => ({
  attack,
  base: "whole",
  code: "cost_differs",
  tamper: (d, w) => d.relog(shop, (es) => change(es, w, d), insider(w)),
});
/** Of the run that people let go beyond its limit. */
const ofLimit = (
  attack: string,
  change: (es: Anything[], w: GenuineEvidence, d: EvidenceDraft) => unknown,
): Attack => ({
  attack,
  base: "several",
  code: "cost_differs",
  tamper: (d, w) => d.relog("office", (es) => change(es, w, d), insider(w, "office")),
});
const intentIn = (es: Anything[], w: GenuineEvidence) => es[placeOf(es, ofStep("step.intent", w.runs.approved, 0))];
const resultIn = (es: Anything[], w: GenuineEvidence) => es[placeOf(es, ofStep("step.result", w.runs.approved, 0))];

/** A step's cost in its entry, the run's last one, and the record. */
function charge(es: Anything[], w: GenuineEvidence, d: EvidenceDraft, seq: number, by: number): void {
  const run = w.runs.approved;
  es[placeOf(es, ofStep("step.result", run, seq))].facts.costMicroUsd += by;
  es[placeOf(es, kind("run.closed", run))].facts.spentMicroUsd += by;
  d.edit(d.record(run), (r) => {
    r.steps[seq].costMicroUsd += by;
    r.run.spentMicroUsd += by;
  });
}

export const costAttacks: readonly Attack[] = [
  ofLog("a model call told to have cost less, everywhere", (es, w, d) => charge(es, w, d, 0, -100)),
  ofLog("a model call told to have cost more, everywhere", (es, w, d) => charge(es, w, d, 0, 100)),
  ofLog("a tool told to have cost something, everywhere", (es, w, d) => charge(es, w, d, 1, 7)),
  ofLog("tokens told to be fewer", (es, w) => (resultIn(es, w).facts.inputTokens -= 200)),
  ofLog("tokens told to have been cached", (es, w) => {
    const { facts } = resultIn(es, w);
    facts.cachedInputTokens = facts.inputTokens;
  }),
  ofLog("a lower price told", (es, w) => {
    const { facts } = intentIn(es, w);
    for (const name of ["inputPerMillion", "cachedInputPerMillion", "outputPerMillion"]) facts[name] /= 2;
  }),
  ofLog("a charge told to have been assumed", (es, w) => (resultIn(es, w).facts.assumedMicroUsd = 3)),
  ofLog(
    "less told to have been held than its answer alone may cost",
    (es, w) => (intentIn(es, w).facts.heldMicroUsd = 1),
  ),
  ofLog("nothing told to have been held", (es, w) => (intentIn(es, w).facts.heldMicroUsd = 0)),
  ofLog("the usage of a call taken away", (es, w) => {
    const { facts } = resultIn(es, w);
    for (const name of ["inputTokens", "cachedInputTokens", "outputTokens", "reasoningTokens"]) delete facts[name];
  }),
  {
    attack: "a lower limit of what the run may cost, with its digest everywhere",
    base: "whole",
    code: "cost_differs",
    tamper: (d, w) => {
      const old = d.json(d.record(w.runs.approved)).run.release;
      const document = d.json(`releases/${old}.json`);
      document.limits.maxCostMicroUsd = 1;
      const digest = d.address("releases", document);
      d.relog(shop, (es) => es.forEach((e) => e.facts.release === old && (e.facts.release = digest)), insider(w));
      for (const { record } of d.manifest.runs)
        d.edit(record, (r) => r.run.release === old && (r.run.release = digest));
    },
  },
  {
    attack: "a decision told to have been made when less was spent",
    base: "withheld",
    code: "cost_differs",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => (r.decisions.at(-1).facts.spentMicroUsd = 1)),
  },
  ofLimit("a step beyond the run's limit, which nobody had let it go beyond", (es, w) =>
    drop(es, kind("budget.extended", w.runs.extended)),
  ),
  ofLimit("a limit that nobody had agreed to go beyond, by an approval of nobody", (es, w) => {
    es[placeOf(es, kind("budget.extended", w.runs.extended))].facts.approval = "apr_00000000000000000000000000";
  }),
  ofLimit("less room given than the step took", (es, w) => {
    es[placeOf(es, kind("budget.extended", w.runs.extended))].facts.microUsd = 1;
  }),
  ofLimit("other room held than was decided with, beyond the limit", (es, w) => {
    es[es.findLastIndex(kind("step.intent", w.runs.extended))].facts.heldMicroUsd += 1;
  }),
  ofLimit("more spent than the decision beyond the limit was told", (_, w, d) =>
    d.edit(d.record(w.runs.extended), (r) => {
      const { budget } = r.decisions.find((one: Anything) => one.facts.budget !== undefined).facts;
      budget.budgets.find((one: Anything) => one.name === "run").held.microUsd += 1;
    }),
  ),
  {
    attack: "a run's cost told to be less, in a selection",
    base: "withheld",
    code: "cost_differs",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => (r.run.spentMicroUsd -= 1)),
  },
];
