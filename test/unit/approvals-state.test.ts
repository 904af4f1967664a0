import fc from "fast-check";
import { expect, test } from "vitest";
import type { ApprovalRequirement } from "../../src/core/decision.ts";
import { approvalStates } from "../../src/core/states.ts";
import type { ApprovalState } from "../../src/core/states.ts";
import { nextState } from "../../src/approvals/state.ts";
import type { Vote } from "../../src/approvals/index.ts";
import type { ApprovalEvent } from "../../src/approvals/state.ts";

const one: readonly ApprovalRequirement[] = [{ policy: "p", group: "g", quorum: 1, expiresMs: 1 }];
const yes: readonly Vote[] = [{ reviewer: "r", decision: "approve", groups: ["g"] }];
const approve: ApprovalEvent = { kind: "decided", decision: "approve" };
const deny: ApprovalEvent = { kind: "decided", decision: "deny" };

test("every transition that is not in the table is refused", () => {
  const table: Partial<Record<ApprovalState, Record<string, ApprovalState>>> = {
    pending: { approve: "approved", deny: "denied", expired: "expired", cancelled: "cancelled" },
    approved: { expired: "expired", cancelled: "cancelled", consumed: "consumed" },
    consumed: { outcome_unknown: "outcome_unknown" },
    outcome_unknown: { reconciled: "consumed" },
  };
  const events: Record<string, ApprovalEvent> = {
    approve,
    deny,
    expired: { kind: "expired" },
    cancelled: { kind: "cancelled" },
    consumed: { kind: "consumed" },
    outcome_unknown: { kind: "outcome_unknown" },
    reconciled: { kind: "reconciled" },
  };
  for (const state of approvalStates) {
    for (const [name, event] of Object.entries(events)) {
      expect(nextState(state, event, one, yes), `${state} ${name}`).toBe(table[state]?.[name]);
    }
  }
});

const groups = ["a", "b", "c"] as const;
const requirement = fc.record({
  policy: fc.constantFrom("p", "q"),
  group: fc.constantFrom(...groups),
  quorum: fc.integer({ min: 1, max: 3 }),
  expiresMs: fc.constant(1),
});
/** One vote in ten is a denial, else hardly any sequence would come to an approval. */
const vote = fc.record({
  reviewer: fc.constantFrom("r1", "r2", "r3", "r4", "r5"),
  decision: fc.integer({ min: 0, max: 9 }).map((n) => (n === 0 ? ("deny" as const) : ("approve" as const))),
  groups: fc.subarray([...groups]),
});

/** What can happen to a request beside votes, wherever it comes from: late, early, repeated, made up. */
const others = ["expired", "cancelled", "consumed", "outcome_unknown", "reconciled"] as const;
const happening = fc.oneof(
  { weight: 8, arbitrary: vote },
  { weight: 2, arbitrary: fc.constantFrom(...others).map((kind) => ({ kind }) as const) },
);
/** From where each of these is possible, and where to. */
const moves: Readonly<Record<(typeof others)[number], readonly [from: readonly string[], to: ApprovalState]>> = {
  expired: [["pending", "approved"], "expired"],
  cancelled: [["pending", "approved"], "cancelled"],
  consumed: [["approved"], "consumed"],
  outcome_unknown: [["consumed"], "outcome_unknown"],
  reconciled: [["outcome_unknown"], "consumed"],
};

test("whatever happens in whatever order: approved exactly when every requirement has its quorum of different members, the first end stays, and what is used was approved", () => {
  const ends = new Set<ApprovalState>();
  fc.assert(
    fc.property(
      fc.array(requirement, { minLength: 1, maxLength: 3 }),
      fc.array(happening, { maxLength: 14 }),
      (requirements, happenings) => {
        let state: ApprovalState = "pending";
        const cast: Vote[] = [];
        const met = () =>
          requirements.every(({ group, quorum }) => {
            return (
              cast.filter((one) => one.decision === "approve" && one.groups.includes(group as "a")).length >= quorum
            );
          });
        for (const next of happenings) {
          const isVote = "reviewer" in next;
          if (isVote && cast.some((earlier) => earlier.reviewer === next.reviewer)) continue;
          if (isVote) cast.push(next);
          const event: ApprovalEvent = isVote ? { kind: "decided", decision: next.decision } : next;
          const after = nextState(state, event, requirements, cast);
          const decided = isVote && next.decision === "deny" ? "denied" : met() ? "approved" : "pending";
          // Nothing is decided twice.
          const [from, to] = isVote ? [["pending"], decided] : moves[next.kind];
          expect(after).toBe(from.includes(state) ? to : undefined);
          expect(after === "consumed" && !met()).toBe(false);
          state = after ?? state;
        }
        ends.add(state);
      },
    ),
    { numRuns: 2_000, seed: 20_260_101 },
  );
  // Else the property would hold of nothing.
  expect([...ends].toSorted()).toEqual([...approvalStates].toSorted());
});

test("no requirement at all is no approval, and one reviewer counts once", () => {
  expect(nextState("pending", approve, [], yes)).toBe("pending");
  const two = one.map((requirement) => ({ ...requirement, quorum: 2 }));
  expect(nextState("pending", approve, two, [...yes, ...yes])).toBe("pending");
  expect(nextState("pending", approve, one, [{ reviewer: "r", decision: "approve", groups: ["other"] }])).toBe(
    "pending",
  );
});
