import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { groupsAfter, markEditor, tally } from "../../src/approvals/index.ts";
import type { Vote } from "../../src/approvals/index.ts";
import { dueAfter, isMet, nextDueAfter } from "../../src/approvals/routing.ts";
import { nextState } from "../../src/approvals/state.ts";
import type { ApprovalRequirement } from "../../src/core/decision.ts";
import { readPolicy } from "../../src/policy/policy.ts";

const groups = ["a", "b", "c"] as const;
const requirement = (distinct: boolean): fc.Arbitrary<ApprovalRequirement> =>
  fc.record({
    policy: fc.constant("p"),
    group: fc.constantFrom(...groups),
    quorum: fc.integer({ min: 1, max: 2 }),
    expiresMs: fc.constant(1_000),
    ...(distinct ? { distinct: fc.constant(true as const) } : {}),
  });
const vote: fc.Arbitrary<Vote> = fc.record({
  reviewer: fc.constantFrom("r1", "r2", "r3", "r4", "r5"),
  decision: fc.constant("approve" as const),
  groups: fc.subarray([...groups]),
});

/** Whether the quorums can be met where each person takes one place: by trying every way to seat them. */
function canSeat(requirements: readonly ApprovalRequirement[], votes: readonly Vote[]): boolean {
  const seat = (index: number, left: readonly number[]): boolean => {
    if (left.every((places) => places === 0)) return true;
    const one = votes[index];
    if (one === undefined) return false;
    const sits = requirements.some(
      ({ group }, place) =>
        one.groups.includes(group) &&
        (left[place] ?? 0) > 0 &&
        seat(
          index + 1,
          left.map((places, at) => (at === place ? places - 1 : places)),
        ),
    );
    return sits || seat(index + 1, left);
  };
  return seat(
    0,
    requirements.map(({ quorum }) => quorum),
  );
}

test("where people count once, quorums are met exactly if there is a way to seat everybody", () => {
  let met = 0;
  fc.assert(
    fc.property(
      fc.array(requirement(true), { minLength: 1, maxLength: 3 }),
      fc.uniqueArray(vote, { maxLength: 5, selector: ({ reviewer }) => reviewer }),
      (requirements, votes) => {
        const expected = canSeat(requirements, votes);
        met += expected ? 1 : 0;
        expect(isMet(requirements, votes)).toBe(expected);
        expect(tally(requirements, votes).reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(votes.length);
      },
    ),
    { numRuns: 2_000 },
  );
  expect(met).toBeGreaterThan(100);
});

test("votes with a person in common never count for more than one, in whatever order they come", () => {
  const ask: ApprovalRequirement = { policy: "p", group: "a", quorum: 1, expiresMs: 1 };
  const cast = (reviewer: string, ...persons: string[]): Vote => ({
    reviewer,
    decision: "approve",
    groups: ["a"],
    persons,
  });
  const tables: readonly [readonly Vote[], number][] = [
    [[cast("rita", "rita"), cast("rita2", "rita")], 1],
    [[cast("dan", "dan", "rosa"), cast("rosa", "rosa")], 1],
    [[cast("dan", "dan", "rosa"), cast("mia", "mia", "dan")], 1],
    [[cast("one", "x"), cast("other", "y"), cast("both", "x", "y")], 1],
    [[cast("one", "x"), cast("other", "y")], 2],
  ];
  for (const [votes, count] of tables) {
    expect(tally([ask], votes)).toEqual([count]);
    expect(tally([ask], votes.toReversed())).toEqual([count]);
  }
});

test("an escalation adds groups from its millisecond on, and takes none away", () => {
  const ask: ApprovalRequirement = {
    policy: "p",
    group: "a",
    orGroups: ["b"],
    quorum: 2,
    expiresMs: 100,
    escalate: { afterMs: 40, to: ["c", "b"] },
  };
  expect(groupsAfter(ask, 39)).toEqual(["a", "b"]);
  expect(groupsAfter(ask, 40)).toEqual(["a", "b", "c"]);
});

test("whoever looks each time that something is due misses nothing, and sees nothing twice", () => {
  const timed = fc.record({
    policy: fc.constant("p"),
    group: fc.constantFrom("a", "b"),
    quorum: fc.constant(1),
    expiresMs: fc.constant(100),
    escalate: fc.option(fc.record({ afterMs: fc.integer({ min: 1, max: 99 }), to: fc.constant(["c"]) }), {
      nil: undefined,
    }),
    remindMs: fc.option(fc.integer({ min: 1, max: 99 }), { nil: undefined }),
  }) as fc.Arbitrary<ApprovalRequirement>;
  fc.assert(
    fc.property(fc.uniqueArray(timed, { maxLength: 2, selector: ({ group }) => group }), (requirements) => {
      const seen: string[] = [];
      for (let at = nextDueAfter(requirements, 0, 100); at !== undefined; at = nextDueAfter(requirements, at, 100)) {
        const news = dueAfter(requirements, at)
          .map(({ kind, key }) => `${kind} ${key}`)
          .filter((event) => !seen.includes(event));
        expect(news.length, `at ${at}`).toBeGreaterThan(0);
        seen.push(...news);
      }
      const expected = requirements.flatMap(({ escalate, remindMs }) => [
        ...(escalate === undefined ? [] : ["escalated"]),
        ...Array.from({ length: remindMs === undefined ? 0 : Math.ceil(100 / remindMs) - 1 }, () => "reminded"),
      ]);
      expect(seen.length).toBe(expected.length);
    }),
    { numRuns: 1_000 },
  );
});

describe("annotations", () => {
  const read = (annotations: string) =>
    readPolicy(`@id("p") @decision("require_approval") ${annotations} forbid (principal, action, resource);`);

  test.each<[string, readonly Partial<ApprovalRequirement>[], string]>([
    ['@group("a")', [{ group: "a", quorum: 1, expiresMs: 86_400_000 }], "needs 1 of a"],
    ['@group("a") @quorum("2") @expires("2h")', [{ group: "a", quorum: 2, expiresMs: 7_200_000 }], "needs 2 of a"],
    ['@approvers("a")', [{ group: "a", quorum: 1 }], "needs 1 of a"],
    ['@approvers("a or b")', [{ group: "a", orGroups: ["b"], quorum: 1 }], "needs 1 of a or b"],
    [
      '@approvers("2 of a and 1 of b or c") @distinct("true")',
      [
        { group: "a", quorum: 2, distinct: true },
        { group: "b", orGroups: ["c"], quorum: 1, distinct: true },
      ],
      "needs 2 of a and 1 of b or c",
    ],
    [
      '@group("a") @escalate_after("4h") @escalate_to("m or d") @remind_after("90m") @amount("cents")',
      [{ escalate: { afterMs: 14_400_000, to: ["m", "d"] }, remindMs: 5_400_000, amount: "cents" }],
      "needs 1 of a",
    ],
  ])("%s", (annotations, approval, reason) => {
    const found = read(annotations);
    expect(found).toMatchObject({ policy: { approval, reason } });
    expect("policy" in found && found.policy.approval).toHaveLength(approval.length);
  });

  test.each([
    ["", /@group is missing, or @approvers/],
    ['@group("a") @approvers("b")', /leave out @group and @quorum/],
    ['@approvers("b") @quorum("2")', /leave out @group and @quorum/],
    ['@approvers("")', /@approvers: expected/],
    ['@approvers("a, b")', /@approvers: expected/],
    ['@approvers("0 of a")', /@approvers: expected/],
    ['@approvers("101 of a")', /@approvers: expected/],
    ['@approvers("two of a")', /@approvers: expected/],
    ['@approvers("a and")', /@approvers: expected/],
    ['@approvers("a and  b")', /@approvers: expected/],
    ['@approvers("a or a")', /@approvers: expected/],
    ['@approvers("1 of and")', /@approvers: expected/],
    ['@approvers("A")', /@approvers: expected/],
    [`@approvers("${Array.from({ length: 11 }, (_, n) => `g${n}`).join(" and ")}")`, /@approvers: expected/],
    [`@approvers("${Array.from({ length: 11 }, (_, n) => `g${n}`).join(" or ")}")`, /@approvers: expected/],
    ['@approvers("a or b and a")', /`a` comes first twice/],
    ['@group("a") @distinct("yes")', /@distinct: expected/],
    ['@group("a") @amount("the cents")', /@amount: expected/],
    ['@group("a") @escalate_after("4h")', /need each other/],
    ['@group("a") @escalate_to("m")', /need each other/],
    ['@group("a") @escalate_after("4") @escalate_to("m")', /@escalate_after: expected/],
    ['@group("a") @escalate_after("4h") @escalate_to("m,d")', /@escalate_to: expected/],
    ['@group("a") @escalate_after("4h") @escalate_to("a")', /adds nobody/],
    ['@group("a") @escalate_after("24h") @escalate_to("m")', /comes too late/],
    ['@group("a") @remind_after("24h")', /comes too late/],
    ['@group("a") @remind_after("1m")', /more than 100 reminders/],
    ['@group("a") @remind_after("soon")', /@remind_after: expected/],
    ['@group("a") @escalate_too("m")', /@escalate_too is not known/],
  ])("refused: %s", (annotations, problem) => {
    const found = read(annotations);
    expect("problems" in found ? found.problems.map(({ message }) => message).join("\n") : "").toMatch(problem);
  });

  test("belong to a forbid that people can lift", () => {
    for (const name of ["approvers", "distinct", "escalate_after", "escalate_to", "remind_after", "amount"]) {
      const found = readPolicy(`@id("p") @decision("shadow") @${name}("a") forbid (principal, action, resource);`);
      expect("problems" in found && found.problems.map(({ message }) => message).join("\n")).toMatch(
        `@${name} does not belong to @decision("shadow")`,
      );
    }
  });
});

describe("whoever changed the call", () => {
  const own = (more: Partial<Vote>): Vote => ({ reviewer: "rita", decision: "approve", groups: ["treasury"], ...more });
  const asks = (more: Partial<ApprovalRequirement> = {}): ApprovalRequirement => ({
    policy: "p",
    group: "treasury",
    quorum: 1,
    expiresMs: 1,
    ...more,
  });

  test.each([
    ["by the same account", own({}), 0],
    ["by another account of the same person", own({ reviewer: "rita2", persons: ["rita"] }), 0],
    ["by a delegate", own({ reviewer: "dora", persons: ["dora", "rita"] }), 0],
    ["as somebody's delegate", own({ reviewer: "rita2", persons: ["rita", "rosa"] }), 0],
    ["not, if it is somebody else", own({ reviewer: "rosa", persons: ["rosa"] }), 1],
  ])("counts only where the policy says so: %s", (_, vote, counted) => {
    const marked = markEditor(["rita"], vote);
    expect(tally([asks()], [marked])).toEqual([counted]);
    expect(tally([asks(), asks({ policy: "q", editorCounts: true })], [marked])).toEqual([counted, 1]);
  });

  test("takes the vote of whom they share a person with along, and a denial is a denial", () => {
    const shared = [
      markEditor(["rita"], own({ reviewer: "dora", persons: ["dora", "rita"] })),
      markEditor(["rita"], own({ reviewer: "dora2", persons: ["dora"] })),
    ];
    expect(tally([asks()], shared)).toEqual([0]);
    expect(nextState("pending", { kind: "decided", decision: "deny" }, [asks()], [])).toBe("denied");
  });
});
