import type { Anything, EvidenceDraft } from "../evidence-draft.ts";
import type { GenuineEvidence } from "../genuine-evidence.ts";
import { insider, ofStep, placeOf } from "./attack.ts";
import type { Attack } from "./attack.ts";

/** The first step of the run that people let go beyond its limit had no room for another attempt. */
const givenUp = 0;

const office = (draft: EvidenceDraft, world: GenuineEvidence, change: (entries: Anything[]) => unknown): void =>
  draft.relog("office", change, insider(world, "office"));

export const unansweredAttacks: readonly Attack[] = [
  {
    attack: "a call that was given up for want of room told to have failed",
    base: "several",
    code: "record_differs",
    tamper: (d, w) => d.edit(d.record(w.runs.extended), (r) => delete r.steps[givenUp].code),
  },
  {
    attack: "the same, everywhere: the model was asked again after it had failed",
    base: "several",
    code: "record_differs",
    tamper: (d, w) => {
      office(d, w, (es) => delete es[placeOf(es, ofStep("step.result", w.runs.extended, givenUp))].facts.code);
      d.edit(d.record(w.runs.extended), (r) => delete r.steps[givenUp].code);
    },
  },
  {
    attack: "a call that failed and took nothing told to have been given up for want of room, everywhere",
    base: "several",
    code: "record_differs",
    tamper: (d, w) => {
      const run = w.runs.failed;
      const { seq } = d.json(d.record(run)).steps.findLast((step: Anything) => step.state === "failed");
      office(d, w, (es) => (es[placeOf(es, ofStep("step.result", run, seq))].facts.code = "no_room"));
      d.edit(d.record(run), (r) => (r.steps[seq].code = "no_room"));
    },
  },
  {
    attack: "an answer taken away, and its call told to have been given up for want of room, everywhere",
    base: "several",
    code: "record_differs",
    tamper: (d, w) => {
      const run = w.runs.extended;
      const { seq } = d
        .json(d.record(run))
        .steps.find((step: Anything) => step.kind === "model" && step.state === "done");
      office(d, w, (es) => {
        const { facts } = es[placeOf(es, ofStep("step.result", run, seq))];
        Object.assign(facts, { state: "failed", code: "no_room" });
        delete facts.result;
      });
      d.edit(d.record(run), (r) => Object.assign(r.steps[seq], { state: "failed", code: "no_room", result: null }));
    },
  },
];
