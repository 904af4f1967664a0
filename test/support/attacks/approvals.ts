import { canonicalText, digestOf } from "../../../src/store/canonical.ts";
import { people, far, long_ago, first, signed, resign } from "./attack.ts";
import type { Attack } from "./attack.ts";

export const approvalAttacks: readonly Attack[] = [
  {
    attack: "an approval's signature changed",
    base: "withheld",
    code: "approval_invalid",
    tamper: (d, w) =>
      d.edit(d.record(w.runs.approved), (r) => {
        const bytes = Buffer.from(signed(r).signature, "base64");
        bytes[0]! ^= 1;
        signed(r).signature = bytes.toString("base64");
      }),
  },
  {
    attack: "an approval's signature in another spelling",
    base: "withheld",
    code: "approval_invalid",
    tamper: (d, w) =>
      d.edit(d.record(w.runs.approved), (r) => (signed(r).signature = signed(r).signature.replace("==", ""))),
  },
  {
    attack: "an approval moved in from another run",
    base: "withheld",
    code: "approval_invalid",
    tamper: (d, w) => {
      const other = first(d.json(d.record(w.runs.twin))).decisions;
      d.edit(d.record(w.runs.approved), (r) => (first(r).decisions = other));
    },
  },
  {
    attack: "an approved action changed in the statement",
    base: "withheld",
    code: "approval_invalid",
    tamper: (d, w) =>
      d.edit(d.record(w.runs.approved), (r) => {
        const s = JSON.parse(signed(r).statement);
        s.action = digestOf("more");
        signed(r).statement = canonicalText(s);
      }),
  },
  {
    attack: "a refusal told to be an approval",
    base: "withheld",
    code: "approval_invalid",
    tamper: (d, w) => d.edit(d.record(w.runs.declined), (r) => (signed(r).decision = "approve")),
  },
  {
    attack: "a refusal removed",
    base: "withheld",
    code: "record_differs",
    tamper: (d, w) => d.edit(d.record(w.runs.declined), (r) => (first(r).decisions = [])),
  },
  {
    attack: "an approval told to be somebody else's",
    base: "withheld",
    code: "approval_invalid",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => (signed(r).reviewer = "mallory@reviewer")),
  },
  {
    attack: "an approval signed again with a key of the attacker's",
    base: "withheld",
    code: "key_untrusted",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => resign(r, {})),
  },
  {
    attack: "an approval signed again with the reviewer's stolen key",
    base: "withheld",
    code: "record_differs",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => resign(r, { reason: "other" }, w.reviewer.privateKey)),
  },
  {
    attack: "an approval removed",
    base: "withheld",
    code: "approval_invalid",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => (r.approvals = [])),
  },
  {
    attack: "a second reviewer's approval added",
    base: "withheld",
    code: "record_differs",
    tamper: (d, w) =>
      d.edit(d.record(w.runs.approved), (r) => {
        const before = structuredClone(signed(r));
        resign(r, { reviewer: "mallory@reviewer" });
        signed(r).reviewer = "mallory@reviewer";
        first(r).decisions.push(before);
      }),
  },
  {
    attack: "the quorum lowered",
    base: "withheld",
    code: "record_differs",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => (first(r).requirements[0].quorum = 0)),
  },
  {
    attack: "more reviewers asked for than agreed",
    base: "withheld",
    code: "quorum_not_met",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => (first(r).requirements[0].quorum = 2)),
  },
  {
    attack: "the group that had to agree changed",
    base: "withheld",
    code: "record_differs",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => (first(r).requirements[0].group = "everybody")),
  },
  {
    attack: "an approval's life made longer",
    base: "withheld",
    code: "approval_invalid",
    tamper: (d, w) => d.edit(d.record(w.runs.approved), (r) => (first(r).expiresAt = far)),
  },
  {
    attack: "a key that the auditor trusts only from later on",
    base: "withheld",
    code: "key_not_yet_enrolled",
    trust: (t) => ({ ...t, approvers: t.approvers.map((a) => ({ ...a, from: far })) }),
    tamper: () => undefined,
  },
  {
    attack: "a key that the auditor trusted only until before",
    base: "withheld",
    code: "key_revoked",
    trust: (t) => ({ ...t, approvers: t.approvers.map((a) => ({ ...a, until: long_ago })) }),
    tamper: () => undefined,
  },
  {
    attack: "a key that the auditor knows as another person's",
    base: "withheld",
    code: "key_of_another",
    trust: (t) => ({ ...t, approvers: t.approvers.map((a) => ({ ...a, principal: "mallory@reviewer" })) }),
    tamper: () => undefined,
  },
  {
    attack: "an approval by somebody outside of the group",
    base: "withheld",
    code: "not_in_group",
    trust: (t) => ({ ...t, approvers: t.approvers.map((a) => ({ ...a, groups: ["kitchen"] })) }),
    tamper: () => undefined,
  },
  {
    attack: "the log of enrolments left out",
    base: "withheld",
    code: "enrolment_unproven",
    verdict: "incomplete",
    tamper: (d) => {
      d.manifest.logs = d.manifest.logs.filter(({ log }) => log !== people);
    },
  },
  {
    attack: "an auditor who names no approvers",
    base: "withheld",
    code: "enrolment_unproven",
    verdict: "incomplete",
    trust: (t) => ({ ...t, approvers: [] }),
    tamper: () => undefined,
  },
];
