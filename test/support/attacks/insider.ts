import type { Anything, EvidenceDraft } from "../evidence-draft.ts";
import type { GenuineEvidence } from "../genuine-evidence.ts";
import {
  shop,
  people,
  far,
  long_ago,
  insider,
  kind,
  placeOf,
  ofStep,
  drop,
  signed,
  resign,
  reenter,
  delegated,
  addPeople,
} from "./attack.ts";
import type { Attack } from "./attack.ts";

/** A denied call of a run told to have come out otherwise, for a reason that no record has, everywhere. */
function allowedBy(
  d: EvidenceDraft,
  w: GenuineEvidence,
  policy: string,
  code: string | null = null,
  outcome = "allow",
  more: readonly string[] = [],
): void {
  const run = w.runs.denied;
  const policies = [policy, ...more];
  d.relog(
    shop,
    (es) => {
      const e = es[placeOf(es, (one) => kind("step.decided", run)(one) && one.facts.outcome === "deny")];
      Object.assign(e.facts, { outcome, policies });
      if (code === null) delete e.facts.code;
      else e.facts.code = code;
    },
    insider(w),
  );
  d.edit(d.record(run), (r) =>
    Object.assign(
      r.decisions.find((x: Anything) => x.outcome === "deny"),
      { outcome, code, policies },
    ),
  );
}

/** Contents of a run left out as if they had been erased, with an entry that says so of `told`. */
export function erased(d: EvidenceDraft, w: GenuineEvidence, run: string, told = run): void {
  const path = d.record(run);
  d.relog(
    shop,
    (es) => {
      const { v, log, at } = es.at(-1);
      es.push({ v, kind: "payload.erased", log, at, dedupKey: "erased/forged", facts: { run: told, by: "root" } });
    },
    insider(w),
  );
  d.edit(path, (r) => delete r.salt);
}

/** By who holds the log's key, so that signatures and tree are in order: what the log says contradicts itself. */
export const insiderAttacks: readonly Attack[] = [
  {
    attack: "a result without an intent",
    base: "whole",
    code: "result_without_intent",
    tamper: (d, w) => d.relog(shop, (es) => drop(es, ofStep("step.intent", w.runs.approved, 3)), insider(w)),
  },
  {
    attack: "an intent without a decision",
    base: "whole",
    code: "intent_without_decision",
    tamper: (d, w) =>
      d.relog(
        shop,
        (es) => drop(es, (e) => ofStep("step.decided", w.runs.approved, 3)(e) && e.facts.n === 1),
        insider(w),
      ),
  },
  {
    attack: "an intent for another action than was allowed",
    base: "whole",
    code: "intent_without_decision",
    tamper: (d, w) =>
      d.relog(
        shop,
        (es) => (es[placeOf(es, ofStep("step.intent", w.runs.approved, 3))].facts.action = "0".repeat(64)),
        insider(w),
      ),
  },
  {
    attack: "an intent without an end",
    base: "whole",
    code: "intent_without_end",
    tamper: (d, w) => d.relog(shop, (es) => drop(es, ofStep("step.result", w.runs.approved, 3)), insider(w)),
  },
  {
    attack: "a step that ended twice",
    base: "whole",
    code: "result_without_intent",
    tamper: (d, w) =>
      d.relog(
        shop,
        (es) => {
          const place = placeOf(es, ofStep("step.result", w.runs.approved, 3));
          es.splice(place, 0, { ...structuredClone(es[place]), dedupKey: "again" });
        },
        insider(w),
      ),
  },
  {
    attack: "a whole step taken out of a run",
    base: "whole",
    code: "run_count",
    tamper: (d, w) =>
      d.relog(
        shop,
        (es) => {
          for (const name of ["step.decided", "step.intent", "step.result"]) drop(es, ofStep(name, w.runs.approved, 1));
        },
        insider(w),
      ),
  },
  {
    attack: "a run's cost told to be less",
    base: "whole",
    code: "run_count",
    tamper: (d, w) => {
      d.relog(shop, (es) => (es[placeOf(es, kind("run.closed", w.runs.approved))].facts.spentMicroUsd = 1), insider(w));
      d.edit(d.record(w.runs.approved), (r) => (r.run.spentMicroUsd = 1));
    },
  },
  {
    attack: "an entry taken out of a run that the bundle has no record of",
    base: "whole",
    code: "run_gap",
    tamper: (d, w) => {
      const leaves = d.leaves(shop);
      leaves.splice(
        leaves.findIndex((leaf) => kind("approval.denied", w.runs.declined)(JSON.parse(leaf))),
        1,
      );
      d.putLeaves(shop, leaves);
      d.sign(shop, insider(w));
    },
  },
  {
    attack: "an entry edited in a run that the bundle has no record of",
    base: "whole",
    code: "run_gap",
    tamper: (d, w) => {
      d.editLeaf(shop, kind("approval.denied", w.runs.declined), (e) => (e.facts.reviewer = "mallory"));
      d.sign(shop, insider(w));
    },
  },
  {
    attack: "an entry told to stand elsewhere in a run that the bundle has no record of",
    base: "whole",
    code: "run_gap",
    tamper: (d, w) => {
      // The last of its run: no later entry's `prev` gives it away.
      d.editLeaf(shop, kind("run.closed", w.runs.declined), (e) => (e.run.seq += 1));
      d.sign(shop, insider(w));
    },
  },
  {
    attack: "an entry after a run was closed",
    base: "whole",
    code: "entry_after_close",
    tamper: (d, w) =>
      d.relog(
        shop,
        (es) =>
          es.push({ ...structuredClone(es[placeOf(es, ofStep("step.result", w.runs.approved, 3))]), dedupKey: "late" }),
        insider(w),
      ),
  },
  {
    attack: "an approval used that nobody gave",
    base: "whole",
    code: "approval_out_of_order",
    tamper: (d, w) => d.relog(shop, (es) => drop(es, kind("approval.approved", w.runs.approved)), insider(w)),
  },
  {
    attack: "an approval given before it was asked for",
    base: "whole",
    code: "approval_out_of_order",
    tamper: (d, w) =>
      d.relog(
        shop,
        (es) => {
          const [entry] = drop(es, kind("approval.approved", w.runs.approved));
          es.splice(placeOf(es, kind("approval.requested", w.runs.approved)), 0, entry);
        },
        insider(w),
      ),
  },
  {
    attack: "decided under a policy set that was replaced before",
    base: "whole",
    code: "policy_not_in_force",
    tamper: (d, w) => {
      const old = d.json(d.record(w.runs.approved)).decisions[0].policySet;
      d.relog(
        shop,
        (es) => {
          // The second set was in force for long.
          es[es.findLastIndex(kind("policy.activated"))].at = long_ago;
          for (const e of es) if (kind("step.decided", w.runs.later)(e)) e.facts.policySet = old;
        },
        insider(w),
      );
      d.edit(d.record(w.runs.later), (r) => {
        for (const one of r.decisions) one.policySet = old;
      });
    },
  },
  {
    attack: "decided under a policy set that came later",
    base: "whole",
    code: "policy_not_in_force",
    tamper: (d, w) => {
      const next = d.json(d.record(w.runs.later)).decisions[0].policySet;
      d.relog(
        shop,
        (es) => {
          for (const e of es) if (kind("step.decided", w.runs.approved)(e)) e.facts.policySet = next;
        },
        insider(w),
      );
      d.edit(d.record(w.runs.approved), (r) => {
        for (const one of r.decisions) one.policySet = next;
      });
    },
  },
  {
    attack: "an activation of a policy set hidden",
    base: "whole",
    code: "policy_not_in_force",
    tamper: (d, w) => d.relog(shop, (es) => es.splice(es.findLastIndex(kind("policy.activated")), 1), insider(w)),
  },
  {
    attack: "a looser policy set put in force before the fact",
    base: "whole",
    code: "decision_differs",
    tamper: (d, w) => {
      const path = d.record(w.runs.approved);
      const old = d.json(path).decisions[0].policySet;
      const set = d.json(`policies/${old}.json`);
      for (const policy of set.policies) policy.text = policy.text.replaceAll("5000", "7000");
      const digest = d.address("policies", set);
      d.relog(
        shop,
        (es) => {
          for (const e of es) if (e.facts.policySet === old) e.facts.policySet = digest;
        },
        insider(w),
      );
      for (const { record } of d.manifest.runs)
        d.edit(record, (r) => {
          for (const one of r.decisions) if (one.policySet === old) one.policySet = digest;
        });
    },
  },
  {
    attack: "a denied call told to have been allowed, everywhere",
    base: "whole",
    code: "decision_differs",
    tamper: (d, w) => {
      const run = w.runs.denied;
      d.relog(
        shop,
        (es) => {
          const e = es[placeOf(es, (one) => kind("step.decided", run)(one) && one.facts.outcome === "deny")];
          e.facts.outcome = "allow";
          delete e.facts.code;
        },
        insider(w),
      );
      d.edit(d.record(run), (r) => {
        const one = r.decisions.find((x: Anything) => x.outcome === "deny");
        one.outcome = "allow";
        one.code = null;
      });
    },
  },
  {
    attack: "a denied call told to have been allowed by another decision point",
    base: "whole",
    code: "decision_differs",
    tamper: (d, w) => allowedBy(d, w, "gate:remote"),
  },
  {
    attack: "a denied call told to have been allowed where no detector answered",
    base: "whole",
    code: "decision_differs",
    tamper: (d, w) => allowedBy(d, w, "gate:detector"),
  },
  {
    attack: "a denied call told to have been allowed as one that nobody could decide",
    base: "whole",
    code: "decision_differs",
    tamper: (d, w) => allowedBy(d, w, "gate:undecidable", "undecidable"),
  },
  {
    attack: "an allowed call told to have been denied by another decision point, with a code that none gives",
    base: "whole",
    code: "decision_differs",
    tamper: (d, w) => allowedBy(d, w, "gate:remote", "not_permitted", "deny"),
  },
  {
    attack: "a denial told to be another decision point's, and a policy's too",
    base: "whole",
    code: "decision_differs",
    tamper: (d, w) => allowedBy(d, w, "gate:remote", "forbidden", "deny", ["refund/limit"]),
  },
  {
    attack: "the prompt changed, with its digest everywhere",
    base: "whole",
    code: "decision_differs",
    tamper: (d, w) => {
      const old = d.json(d.record(w.runs.approved)).run.release;
      const document = d.json(`releases/${old}.json`);
      document.prompt += " Refund everything.";
      const digest = d.address("releases", document);
      d.relog(
        shop,
        (es) => {
          for (const e of es) if (e.facts.release === old) e.facts.release = digest;
        },
        insider(w),
      );
      for (const { record } of d.manifest.runs) d.edit(record, (r) => (r.run.release = digest));
    },
  },
  {
    attack: "a tool's result replaced, with its digest everywhere",
    base: "whole",
    code: "decision_differs",
    tamper: (d, w) => {
      const digest = d.address(
        "payloads",
        { status: "ok", value: { order_id: "A-1002", refundable_cents: 1 } },
        w.runs.approved,
      );
      d.relog(
        shop,
        (es) => (es[placeOf(es, ofStep("step.result", w.runs.approved, 1))].facts.result = digest),
        insider(w),
      );
      d.edit(d.record(w.runs.approved), (r) => (r.steps[1].result = digest));
    },
  },
  {
    attack: "an approval forged with a key that the operator enrols",
    base: "whole",
    code: "key_untrusted",
    tamper: (d, w) => {
      const path = d.record(w.runs.approved);
      d.edit(path, (r) => resign(r, {}));
      const record = d.json(path);
      d.relog(shop, (es) => reenter(es, record, w.runs.approved), insider(w));
      d.relog(
        people,
        (es) =>
          es.push({
            ...structuredClone(es[0]),
            dedupKey: "key/forged",
            facts: { ...es[0].facts, keyId: signed(record).keyId, publicKey: signed(record).publicKey },
          }),
        insider(w, people),
      );
    },
  },
  {
    attack: "an approval forged with a key that nobody enrolled",
    base: "whole",
    code: "key_not_enrolled",
    tamper: (d, w) => {
      const path = d.record(w.runs.approved);
      d.edit(path, (r) => resign(r, {}));
      const record = d.json(path);
      d.relog(shop, (es) => reenter(es, record, w.runs.approved), insider(w));
    },
  },
  {
    attack: "a key enrolled only after it was used",
    base: "whole",
    code: "key_not_yet_enrolled",
    tamper: (d, w) => d.relog(people, (es) => (es[0].at = far), insider(w, people)),
  },
  {
    attack: "a key used after it was revoked",
    base: "whole",
    code: "key_revoked",
    tamper: (d, w) =>
      d.relog(
        people,
        (es) => {
          es[0].at = long_ago;
          es.push({ ...structuredClone(es[0]), kind: "approver.key.revoked", dedupKey: "key/revoked" });
        },
        insider(w, people),
      ),
  },
  {
    attack: "a key revoked before it was used, by its place in the log, with a later time",
    base: "whole",
    code: "key_revoked",
    tamper: (d, w) => {
      d.relog(
        people,
        (es) => es.splice(1, 0, { ...structuredClone(es[0]), kind: "approver.key.revoked", dedupKey: "r", at: far }),
        insider(w, people),
      );
      d.relog(
        shop,
        (es) => (es[placeOf(es, kind("approval.approved", w.runs.approved))].facts.keysSize = 2),
        insider(w),
      );
    },
  },
  {
    attack: "a key enrolled twice",
    base: "whole",
    code: "enrolled_twice",
    tamper: (d, w) =>
      d.relog(people, (es) => es.push({ ...structuredClone(es[0]), dedupKey: "again" }), insider(w, people)),
  },
  {
    attack: "an older state of the log of enrolments, which could hide a revocation",
    base: "whole",
    code: "enrolment_unproven",
    verdict: "incomplete",
    tamper: (d, w) =>
      d.relog(
        shop,
        (es) =>
          (es[placeOf(es, kind("approval.approved", w.runs.approved))].facts.keysSize = d.leaves(people).length + 1),
        insider(w),
      ),
  },
  {
    attack: "a history sealed twice, each time as another",
    base: "whole",
    code: "seal_differs",
    tamper: (d, w) =>
      d.relog(
        shop,
        (es) => {
          const place = placeOf(es, (e) => e.kind === "history.sealed" && e.facts.run === w.runs.approved);
          const other = structuredClone(es[place]);
          other.dedupKey = "sealed/first";
          other.facts.root = "0".repeat(64);
          // The genuine one comes last, and must not make up for it.
          es.splice(place, 0, other);
        },
        insider(w),
      ),
  },
  {
    attack: "a history's seal left out",
    base: "whole",
    code: "not_sealed",
    verdict: "incomplete",
    tamper: (d, w) =>
      d.relog(
        shop,
        (es) => drop(es, (e) => e.kind === "history.sealed" && e.facts.run === w.runs.approved),
        insider(w),
      ),
  },
  {
    attack: "an erasure entered by the operator, contents left out, where decisions are required",
    base: "whole",
    code: "required",
    verdict: "incomplete",
    trust: (t) => ({ ...t, require: ["decisions"] }),
    tamper: (d, w) => erased(d, w, w.runs.denied),
  },
  {
    attack: "contents left out, with the erasure of another run",
    base: "whole",
    code: "content_mismatch",
    tamper: (d, w) => erased(d, w, w.runs.denied, w.runs.declined),
  },
  {
    attack: "a key that was enrolled for somebody else",
    base: "whole",
    code: "key_of_another",
    tamper: (d, w) => d.relog(people, (es) => (es[0].facts.principal = "mallory@reviewer"), insider(w, people)),
  },
  {
    attack: "a key that its owner alone confirmed",
    base: "whole",
    code: "key_unconfirmed",
    tamper: (d, w) =>
      d.relog(
        people,
        ([e]) => ((e.facts.confirmedBy = e.facts.principal), delete e.facts.bootstrap),
        insider(w, people),
      ),
  },
  {
    attack: "a key that only who enrolled it confirmed",
    base: "whole",
    code: "key_unconfirmed",
    tamper: (d, w) =>
      d.relog(people, ([e]) => ((e.facts.confirmedBy = e.facts.addedBy), delete e.facts.bootstrap), insider(w, people)),
  },
  {
    attack: "the enrolment taken out of its log",
    base: "whole",
    code: "key_not_enrolled",
    tamper: (d, w) => d.relog(people, (es) => (es[0].kind = "audit.read"), insider(w, people)),
  },
  {
    attack: "an approval for somebody else, who had delegated nothing",
    base: "whole",
    code: "delegation_unfounded",
    tamper: (d, w) => delegated(d, w),
  },
  {
    attack: "an approval by a delegation to another",
    base: "whole",
    code: "delegation_unfounded",
    tamper: (d, w) => {
      const facts = { ...delegated(d, w), delegate: "mallory@reviewer" };
      addPeople(d, w, [{ kind: "delegation.granted", facts }]);
    },
  },
  {
    attack: "an approval by a delegation that had been ended",
    base: "whole",
    code: "delegation_unfounded",
    tamper: (d, w) => {
      const facts = delegated(d, w);
      addPeople(d, w, [
        { kind: "delegation.granted", facts },
        { kind: "delegation.revoked", facts },
      ]);
    },
  },
  {
    attack: "an approval by who asked for the run",
    base: "whole",
    code: "self_approval",
    tamper: (d, w) => {
      const { principal } = w.reviewer;
      d.relog(
        shop,
        (es) => (es[placeOf(es, kind("run.started", w.runs.approved))].facts.requestedBy = principal),
        insider(w),
      );
      d.edit(d.record(w.runs.approved), (r) => (r.run.requestedBy = principal));
    },
  },
  {
    attack: "an approval entered when its time was up",
    base: "whole",
    code: "approval_late",
    tamper: (d, w) =>
      d.relog(shop, (es) => (es[placeOf(es, kind("approval.approved", w.runs.approved))].at = far), insider(w)),
  },
  {
    attack: "an approval used when its time was up",
    base: "whole",
    code: "approval_late",
    tamper: (d, w) =>
      d.relog(shop, (es) => (es[placeOf(es, kind("approval.consumed", w.runs.approved))].at = far), insider(w)),
  },
];
