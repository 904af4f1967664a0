import type { Anything } from "../evidence-draft.ts";
import { drop, insider, kind, long_ago, people, placeOf, shop } from "./attack.ts";
import type { Attack } from "./attack.ts";

const grant = (record: Anything) => record.standingGrants[0];
const ofRecord =
  (base: Attack["base"], code: Attack["code"]) =>
  (attack: string, change: (record: Anything) => unknown): Attack => ({
    attack,
    base,
    code,
    tamper: (d, w) => d.edit(d.record(w.runs.ahead), change),
  });
const ofLog = (code: Attack["code"], attack: string, change: (entries: Anything[]) => unknown): Attack => ({
  attack,
  base: "whole",
  code,
  tamper: (d, w) => d.relog(shop, change, insider(w)),
});
const used = (entries: Anything[]) => entries[placeOf(entries, kind("standing.used"))];
const unsigned = ofRecord("withheld", "approval_invalid");
const unlike = ofRecord("withheld", "record_differs");

export const standingAttacks: readonly Attack[] = [
  unsigned("more uses than were agreed to", (r) => (grant(r).terms.uses = 300)),
  unsigned("another target than was agreed to", (r) => (grant(r).terms.targets[0].like = "B-*")),
  unsigned("a longer time than was agreed to", (r) => (grant(r).terms.until = "2099-01-01T00:00:00.000Z")),
  unsigned("a standing grant by one person", (r) => grant(r).approvals.pop()),
  unsigned("one person's approval, twice", (r) => (grant(r).approvals[1] = grant(r).approvals[0])),
  unsigned("two accounts of one person", (r) => (grant(r).approvals[1].person = grant(r).approvals[0].person)),
  unsigned("somebody else's approval of it", (r) => (grant(r).approvals[0].reviewer = "mallory")),
  unsigned("a use by whom it acts for", (r) =>
    grant(r).uses[0].barred.push({ person: grant(r).approvals[0].person, because: "subject" }),
  ),
  unsigned("a standing grant left out of the record", (r) => delete r.standingGrants),
  unsigned("a use told to be of another step", (r) => (grant(r).uses[0].seq = 0)),
  unlike("a use told to be of less", (r) => Object.assign(grant(r).uses[0], { amount: 1, total: 1 })),
  unlike("a use told to be earlier", (r) => (grant(r).uses[0].at = long_ago)),
  unlike("who was barred left out", (r) => (grant(r).uses[0].barred = [])),
  unlike("a decision told to be by nothing", (r) => {
    for (const decision of r.decisions) decision.standingGrant = null;
  }),
  {
    attack: "a call that is not what was agreed to, by who signs the log",
    base: "whole",
    code: "decision_differs",
    tamper: (d, w) => d.edit(d.record(w.runs.ahead), (r) => (grant(r).terms.targets[0].like = "B-*")),
  },
  ofLog("standing_grant_exceeded", "a decision by a standing grant without a use of it", (es) =>
    drop(es, kind("standing.used")),
  ),
  ofLog("standing_grant_exceeded", "a use left out before this one", (es) => (used(es).facts.n = 2)),
  ofLog("standing_grant_exceeded", "a use beyond the number", (es) => (used(es).facts.n = 4)),
  ofLog("standing_grant_exceeded", "a use beyond the sum", (es) => (used(es).facts.total = 20_001)),
  ofLog("standing_grant_exceeded", "a use that gives room back", (es) => (used(es).facts.amount = -1)),
  ofLog(
    "standing_grant_exceeded",
    "a use after its time",
    (es) => (es[placeOf(es, kind("standing.proposed"))].facts.until = long_ago),
  ),
  ofLog("standing_grant_exceeded", "a use counted twice", (es) => {
    const place = placeOf(es, kind("standing.used"));
    es.splice(place, 0, { ...es[place], dedupKey: "again" });
  }),
  ofLog("approval_out_of_order", "a use of what was never proposed", (es) => drop(es, kind("standing.proposed"))),
  ofLog("approval_out_of_order", "a use before enough had approved it", (es) =>
    drop(es, (e) => kind("standing.approved")(e) && e.facts.state === "active"),
  ),
  ofLog("approval_out_of_order", "a use after it was revoked", (es) => {
    const [revoked] = drop(es, kind("standing.revoked"));
    es.splice(placeOf(es, kind("standing.used")), 0, revoked);
  }),
  ofLog("approval_out_of_order", "a use of other terms", (es) => (used(es).facts.terms = "0".repeat(64))),
  {
    attack: "a standing grant used after a key of it was revoked",
    base: "whole",
    code: "key_revoked",
    tamper: (d, w) =>
      d.relog(
        people,
        (es) => {
          const added = es.find((e) => e.kind === "approver.key.added" && e.facts.principal === "trudy");
          const { keyId, principal, publicKey } = added.facts;
          // After it had signed, and before the use.
          const at = grant(d.json(d.record(w.runs.ahead))).uses[0].at;
          const facts = { keyId, principal, publicKey, kind: "ed25519", by: "owner" };
          es.push({ ...added, kind: "approver.key.revoked", dedupKey: `key/${keyId}/revoked`, at, facts });
        },
        insider(w, people),
      ),
  },
  {
    attack: "a standing grant by somebody whose group was not asked",
    base: "withheld",
    code: "not_in_group",
    tamper: () => undefined,
    trust: (t) => ({
      ...t,
      approvers: t.approvers.map((one) => (one.principal === "trudy" ? { ...one, groups: ["kitchen"] } : one)),
    }),
  },
  {
    attack: "a standing grant by a key that the auditor does not know",
    base: "withheld",
    code: "key_untrusted",
    tamper: () => undefined,
    trust: (t) => ({ ...t, approvers: t.approvers.filter(({ principal }) => principal !== "trudy") }),
  },
];
