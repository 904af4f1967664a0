import { canonicalText } from "../../../src/store/canonical.ts";
import type { Anything } from "../evidence-draft.ts";
import { refund } from "./attack.ts";
import type { Attack } from "./attack.ts";

export const recordAttacks: readonly Attack[] = [
  {
    attack: "a decision flipped in the record",
    base: "selected",
    code: "record_differs",
    tamper: (d, w) =>
      d.edit(
        d.record(w.runs.approved),
        (r) => (r.decisions.find((x: Anything) => x.outcome === "require_approval").outcome = "allow"),
      ),
  },
  {
    attack: "a decision removed from the record",
    base: "withheld",
    code: "record_differs",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => r.decisions.splice(3, 1)),
  },
  {
    attack: "a decision's facts changed",
    base: "selected",
    code: "decision_differs",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => (r.decisions[3].facts.spentMicroUsd += 1)),
  },
  {
    attack: "a decision's facts made unreadable",
    base: "selected",
    code: "decision_differs",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => (r.decisions[3].facts = {})),
  },
  {
    attack: "a reviewer's change of a call left out of the record",
    base: "withheld",
    code: "record_differs",
    tamper: (d, w) => d.edit(d.record(w.runs.edited), (r) => delete r.edits),
  },
  {
    attack: "whoever changed a call taken out of its editors",
    base: "withheld",
    code: "approval_invalid",
    tamper: (d, w) => d.edit(d.record(w.runs.edited), (r) => (r.edits[0].editors = [])),
  },
  {
    attack: "the person behind who changed a call exchanged",
    base: "withheld",
    code: "record_differs",
    tamper: (d, w) => d.edit(d.record(w.runs.edited), (r) => (r.edits[0].persons = ["somebody"])),
  },
  {
    attack: "a step removed from the record",
    base: "withheld",
    code: "record_differs",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => r.steps.splice(3, 1)),
  },
  {
    attack: "a step's cost changed",
    base: "withheld",
    code: "record_differs",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => (r.steps[0].costMicroUsd += 1)),
  },
  {
    attack: "a step's result swapped with another's",
    base: "selected",
    code: "record_differs",
    tamper: (d, w) =>
      d.edit(
        d.record(w.runs.approved),
        (r) => ([r.steps[1].result, r.steps[3].result] = [r.steps[3].result, r.steps[1].result]),
      ),
  },
  {
    attack: "a done step told to have failed",
    base: "withheld",
    code: "record_differs",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => (refund(r).state = "failed")),
  },
  {
    attack: "the run told to have been cancelled",
    base: "withheld",
    code: "record_differs",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => (r.run.status = "cancelled")),
  },
  {
    attack: "the run told to be open",
    base: "withheld",
    code: "record_differs",
    tamper: (d, w) =>
      d.edit(d.record(w.runs.approved), (r) => Object.assign(r.run, { status: "running", closedAt: null })),
  },
  {
    attack: "who asked changed",
    base: "withheld",
    code: "record_differs",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => (r.run.requestedBy = "mallory")),
  },
  {
    attack: "the record of another run",
    base: "withheld",
    code: "record_differs",
    tamper: (d, w) => {
      d.section(w.runs.approved).record = d.record(w.runs.twin);
    },
  },
  {
    attack: "two runs' records swapped, told to be each other's",
    base: "withheld",
    code: "record_differs",
    tamper: (d, w) => {
      const [a, b] = [d.json(d.record(w.runs.approved)), d.json(d.record(w.runs.twin))];
      [a.run.id, b.run.id] = [b.run.id, a.run.id];
      d.put(d.record(w.runs.approved), canonicalText(b));
      d.put(d.record(w.runs.twin), canonicalText(a));
    },
  },
  {
    attack: "the prompt changed in place",
    base: "withheld",
    code: "content_mismatch",
    tamper: (d, w) =>
      d.edit(
        `releases/${d.json(d.record(w.runs.approved)).run.release}.json`,
        (r) => (r.prompt += " Refund everything."),
      ),
  },
  {
    attack: "the prompt changed, with its digest in the record",
    base: "withheld",
    code: "record_differs",
    tamper: (d, w) => {
      const document = d.json(`releases/${d.json(d.record(w.runs.approved)).run.release}.json`);
      document.prompt += "!";
      const digest = d.address("releases", document);
      d.edit(d.record(w.runs.approved), (r) => (r.run.release = digest));
    },
  },
  {
    attack: "the user's question changed, with its digest in the record",
    base: "selected",
    code: "record_differs",
    tamper: (d, w) => {
      const digest = d.address("payloads", { prompt: "Refund it all." }, w.runs.approved);
      d.edit(d.record(w.runs.approved), (r) => (r.run.input = digest));
    },
  },
  {
    attack: "a policy changed in place",
    base: "withheld",
    code: "content_mismatch",
    tamper: (d, w) =>
      d.edit(
        `policies/${d.json(d.record(w.runs.approved)).decisions[0].policySet}.json`,
        (s) => (s.policies[0].text += " "),
      ),
  },
  {
    attack: "a policy changed, with its digest in the record",
    base: "withheld",
    code: "record_differs",
    tamper: (d, w) => {
      const set = d.json(`policies/${d.json(d.record(w.runs.approved)).decisions[0].policySet}.json`);
      set.policies[0].text += " ";
      const digest = d.address("policies", set);
      d.edit(d.record(w.runs.approved), (r) => {
        for (const one of r.decisions) one.policySet = digest;
      });
    },
  },
  {
    attack: "the answer replaced, with its digest in the record",
    base: "selected",
    code: "record_differs",
    tamper: (d, w) => {
      const digest = d.address("payloads", { text: "No." }, w.runs.approved);
      d.edit(d.record(w.runs.approved), (r) => (r.run.result = digest));
    },
  },
  {
    attack: "contents and salt left out, as if they had been erased",
    base: "selected",
    code: "content_missing",
    tamper: (d, w) => {
      const { run, steps } = d.json(d.record(w.runs.approved));
      const named = [run.input, run.result, ...steps.map((step: Anything) => step.result)];
      for (const name of named) d.files.delete(`payloads/${name}.json`);
      d.edit(d.record(w.runs.approved), (r) => delete r.salt);
    },
  },
  {
    attack: "another salt",
    base: "selected",
    code: "content_mismatch",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => (r.salt = "0".repeat(64))),
  },
  {
    attack: "the salt of another run, with its contents",
    base: "selected",
    code: "record_differs",
    tamper: (d, w) => {
      const twin = d.json(d.record(w.runs.twin));
      d.edit(d.record(w.runs.approved), (r) => {
        r.salt = twin.salt;
        r.run.input = twin.run.input;
        r.run.result = twin.run.result;
        for (const [place, step] of twin.steps.entries()) r.steps[place].result = step.result;
      });
    },
  },
  {
    attack: "a run said to be of before there were data keys",
    base: "withheld",
    code: "record_differs",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => delete r.run.dataKey),
  },
  {
    attack: "a run said to be under another data key",
    base: "withheld",
    code: "record_differs",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => (r.run.dataKey = `key_${"0".repeat(26)}`)),
  },
];
