import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { matchesPattern, patternFault } from "../../src/approvals/target-pattern.ts";
import { answers, hasRoom, isGranted, matchCall, ordered, termsFault } from "../../src/approvals/standing-terms.ts";
import { readTerms } from "../../src/approvals/standing.schema.ts";
import type { ApprovalRequirement } from "../../src/core/decision.ts";
import type { Digest } from "../../src/core/ids.ts";
import type { JsonObject } from "../../src/core/json.ts";
import type { ToolDefinition } from "../../src/core/release.ts";
import type { StandingTerms } from "../../src/core/standing-grant.ts";

describe("patterns", () => {
  const cases: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    [
      "*@example.com",
      ["ada@example.com", "a.b+c_d-e@example.com"],
      [
        "ada@example.com.evil.com",
        "ada@evil-example.com",
        "ada@sub.example.com",
        "ada@EXAMPLE.com",
        "ada@examp1e.com",
        "@example.com",
        "a..b@example.com",
        ".a@example.com",
        "eve@evil.com,ada@example.com",
        "eve@evil.com ada@example.com",
        '"eve@evil.com"@example.com',
        "<eve@evil.com>ada@example.com",
        "ada@example.com\n",
        "ada@example.com ",
        "ada%40evil.com@example.com",
        // Cyrillic а and е; full-width @; a combining mark; an invisible joiner.
        "\u0430da@example.com",
        "ada@\u0435xample.com",
        "ada\uFF20example.com",
        "ada\u0301@example.com",
        "ada\u200D@example.com",
      ],
    ],
    [
      "*@*.example.com",
      ["ada@eu.example.com", "ada@a.b.example.com"],
      ["ada@example.com", "ada@evilexample.com", "ada@.example.com", "ada@eu.example.com.evil.com"],
    ],
    [
      "https://hooks.example.com/team-a/**",
      ["https://hooks.example.com/team-a/x", "https://hooks.example.com/team-a/x/y.json"],
      [
        "https://hooks.example.com/team-a/",
        "https://hooks.example.com/team-ab/x",
        "https://hooks.example.com/team-a/../team-b/x",
        "https://hooks.example.com/team-a/./x",
        "https://hooks.example.com/team-a//evil.com/x",
        "https://hooks.example.com/team-a/%2e%2e/x",
        "https://hooks.example.com/team-a/x?to=evil",
        "https://hooks.example.com/team-a/x#y",
        "https://hooks.example.com/team-a/x\\..\\y",
        "https://hooks.example.com@evil.com/team-a/x",
        "https://hooks.example.com:443/team-a/x",
        "https://hooks.example.com.evil.com/team-a/x",
        "https://HOOKS.example.com/team-a/x",
        "http://hooks.example.com/team-a/x",
        " https://hooks.example.com/team-a/x",
      ],
    ],
    [
      "https://*.example.com/in/*",
      ["https://eu.example.com/in/x", "https://a.b.example.com/in/x.y"],
      [
        "https://example.com/in/x",
        "https://evil.com/.example.com/in/x",
        "https://evil.com#.example.com/in/x",
        "https://evil.com?.example.com/in/x",
        "https://evilexample.com/in/x",
        "https://eu.example.com/in/x/y",
        "https://a@b.example.com/in/x",
        "https://xn--.example.com/in/..",
      ],
    ],
    ["INV-*", ["INV-1", "INV-a_b"], ["INV-", "INV1", "inv-1", "INV-1.evil.com", "INV-1/2", "INV-1 2", "XINV-1"]],
    [
      "/reports/*.pdf",
      ["/reports/a.pdf"],
      ["/reports/a.b.pdf", "/reports/.pdf", "/reports/a/b.pdf", "/reports/../a.pdf"],
    ],
    [
      "/reports/**",
      ["/reports/a", "/reports/a/b.c"],
      ["/reports/a/../b", "/reports/.ssh", "/reports//a", "/reports2/a"],
    ],
    [
      "*.example.com",
      ["a.example.com", "a.b.example.com"],
      ["example.com", "evilexample.com", "a.example.com.evil.com"],
    ],
  ];
  test.each(cases)("%s", (pattern, matched, others) => {
    expect(patternFault(pattern)).toBeUndefined();
    for (const value of matched) expect([value, matchesPattern(pattern, value)]).toEqual([value, true]);
    for (const value of others) expect([value, matchesPattern(pattern, value)]).toEqual([value, false]);
  });

  test.each([
    "*",
    "**",
    "*@*",
    "*@*.com",
    "*@com",
    "ada@*",
    "ada@example.*",
    "a*@example.com",
    "*@evil.com@example.com",
    "*@Example.com",
    "*@example.com:25",
    "https://*",
    "https://*/x",
    "https://*.com/x",
    "https://example.*/x",
    "https://example.com*",
    "https://api-*.example.com/x",
    "https://ada@example.com/*",
    "https://Example.com/*",
    "https://example.com/*/**/x",
    "https://example.com/a*",
    "https://example.com/../*",
    "https://example.com//*",
    "*://example.com/x",
    "https://xn--80ak6aa92e.com/*",
    "/reports/../*",
    "*/reports",
    "reports*",
    "report.*",
    "example.com-*",
    "a**",
    "INV-*-*",
    "exact@example.com",
    "ad\u0430-*",
    "a b-*",
    "a%-*",
    `INV-${"x".repeat(300)}*`,
  ])("%s is no pattern, and matches nothing", (pattern) => {
    expect(patternFault(pattern)).toBeTypeOf("string");
    expect(matchesPattern(pattern, pattern.replaceAll("*", "a"))).toBe(false);
  });

  test("whatever a pattern of a domain matches is an address at that domain", () => {
    const hostile = fc.string({ unit: fc.constantFrom(..."ab.@/:,;%\\ \n\u0430-_+*".split("")), maxLength: 12 });
    fc.assert(
      fc.property(hostile, hostile, (before, after) => {
        const value = `${before}@example.com${after}`;
        if (!matchesPattern("*@example.com", value)) return;
        expect(after).toBe("");
        expect(before).toMatch(/^[A-Za-z0-9._+-]+$/);
      }),
      { numRuns: 2_000 },
    );
  });
});

const digest = "a".repeat(64) as Digest;
const asks = (more: Partial<ApprovalRequirement> = {}): ApprovalRequirement => ({
  policy: "p",
  group: "treasury",
  quorum: 1,
  expiresMs: 1_000,
  ...more,
});
const tool = {
  name: "pay",
  parameters: { type: "object", properties: { to: {}, cc: {}, amount: {}, note: {} } },
  destinations: ["to", "cc"],
} as unknown as ToolDefinition;
const termsOf = (more: Partial<StandingTerms> = {}): StandingTerms => ({
  v: 1,
  team: "shop",
  agent: "support",
  tool: "pay",
  toolDigest: digest,
  requirements: [asks()],
  targets: [
    { argument: "to", like: "*@example.com" },
    { argument: "cc", absent: true },
  ],
  unconstrained: ["note"],
  uses: 3,
  sum: { argument: "amount", max: 100 },
  from: "2026-01-01T00:00:00.000Z",
  until: "2026-02-01T00:00:00.000Z",
  reason: "r",
  ...more,
});

test.each([
  ["fine", {}, undefined],
  ["too long", { until: "2026-05-01T00:00:00.000Z" }, "longer than 90 days"],
  ["backwards", { until: "2025-05-01T00:00:00.000Z" }, "end before it begins"],
  ["an argument is not spoken of", { unconstrained: [] }, "nothing is said of `note`"],
  ["an argument that the tool has not", { unconstrained: ["note", "x"] }, "no argument `x`"],
  ["named twice", { unconstrained: ["note", "to"] }, "named twice"],
  [
    "a destination that may be anything",
    { targets: [{ argument: "to", is: "a" }], unconstrained: ["note", "cc"] },
    "`cc` says where",
  ],
  [
    "nothing but what is not given",
    {
      targets: [
        { argument: "to", absent: true },
        { argument: "cc", absent: true },
      ],
    },
    "no target",
  ],
  [
    "a look-alike",
    {
      targets: [
        { argument: "to", is: "p\u0430ypal" },
        { argument: "cc", absent: true },
      ],
    },
    "look-alike",
  ],
  [
    "a second spelling",
    {
      targets: [
        { argument: "to", is: "e\u0301" },
        { argument: "cc", absent: true },
      ],
    },
    "second spelling",
  ],
  [
    "hidden",
    {
      targets: [
        { argument: "to", is: "a\u202Eb" },
        { argument: "cc", absent: true },
      ],
    },
    "hidden",
  ],
  [
    "no pattern",
    {
      targets: [
        { argument: "to", like: "*" },
        { argument: "cc", absent: true },
      ],
    },
    "pattern of `to`",
  ],
  ["one of several groups", { requirements: [asks({ orGroups: ["x"] })] }, "one of several groups"],
  ["each person once", { requirements: [asks({ distinct: true })] }, "count once"],
  ["escalation", { requirements: [asks({ escalate: { afterMs: 1, to: ["x"] } })] }, "others after a time"],
  ["a passkey", { requirements: [asks({ signed: "passkey" })] }, "passkey"],
  ["a budget", { requirements: [asks({ policy: "budget:run" })] }, "budget"],
  ["nobody", { requirements: [] }, "nobody"],
  ["an amount that is not bounded", { requirements: [asks({ amount: "cents" })] }, "bound its sum"],
] as readonly (readonly [string, Partial<StandingTerms>, string | undefined])[])("terms: %s", (_, more, fault) => {
  expect(termsFault(termsOf(more), tool) ?? "nothing").toContain(fault ?? "nothing");
});

test.each([
  ["as agreed", { to: "a@example.com", amount: 5, note: { any: [1] } }, 5],
  ["a list, all of which fit", { to: ["a@example.com", "b@example.com"], amount: 0 }, 0],
  ["a list with one that does not", { to: ["a@example.com", "b@evil.com"], amount: 1 }, undefined],
  ["an empty list", { to: [], amount: 1 }, undefined],
  ["an object", { to: { a: "a@example.com" }, amount: 1 }, undefined],
  ["a target that is not given", { amount: 1 }, undefined],
  ["what must not be given", { to: "a@example.com", cc: null, amount: 1 }, undefined],
  ["an argument that nobody spoke of", { to: "a@example.com", amount: 1, bcc: "x" }, undefined],
  ["an inherited name", { to: "a@example.com", amount: 1, constructor: 1 }, undefined],
  ["no amount", { to: "a@example.com" }, undefined],
  ["room given back", { to: "a@example.com", amount: -1 }, undefined],
  ["a broken amount", { to: "a@example.com", amount: 1.5 }, undefined],
  ["an amount as text", { to: "a@example.com", amount: "1" }, undefined],
  ["an amount beyond numbers", { to: "a@example.com", amount: 2 ** 53 }, undefined],
] as readonly (readonly [string, JsonObject, number | undefined])[])("a call: %s", (_, args, amount) => {
  const match = matchCall(termsOf(), args);
  expect(match.matches ? match.amount : undefined).toBe(amount);
});

test("exact values are of their type, in their one spelling", () => {
  const is = (value: string | number | boolean) =>
    termsOf({ targets: [{ argument: "to", is: value }], sum: undefined as never });
  const matches = (value: string | number | boolean, given: JsonObject["x"]) =>
    matchCall(is(value), { to: given ?? null }).matches;
  expect(matches("5", "5")).toBe(true);
  expect(matches("5", 5)).toBe(false);
  expect(matches(5, "5")).toBe(false);
  expect(matches(true, "true")).toBe(false);
  expect(matches("Ada", "ada")).toBe(false);
  expect(matches("\u00e9", "e\u0301")).toBe(false);
  expect(matches("ada", "\u0430da")).toBe(false);
});

test("what is asked for now has to be what it was approved for, whole", () => {
  const both = [asks(), asks({ policy: "o", group: "legal", quorum: 2 })];
  const terms = termsOf({ requirements: ordered(both) });
  expect(answers(terms, both)).toBe(true);
  expect(answers(terms, both.toReversed())).toBe(true);
  for (const other of [
    [asks()],
    [...both, asks({ policy: "q" })],
    [asks({ quorum: 2 }), both[1]!],
    [asks({ group: "legal" }), both[1]!],
    [asks({ expiresMs: 2 }), both[1]!],
    [asks({ escalate: { afterMs: 1, to: ["x"] } }), both[1]!],
    [],
  ])
    expect(answers(terms, other)).toBe(false);
});

test("a grant is never one person's, nor of people who are not asked", () => {
  const vote = (reviewer: string, groups: readonly string[], persons = [reviewer]) =>
    ({ reviewer, decision: "approve", groups, persons }) as const;
  const one = termsOf();
  expect(isGranted(one, [vote("a", ["treasury"])])).toBe(false);
  expect(isGranted(one, [vote("a", ["treasury"]), vote("a.2", ["treasury"], ["a"])])).toBe(false);
  expect(isGranted(one, [vote("a", ["treasury"]), vote("b", ["legal"])])).toBe(false);
  expect(isGranted(one, [vote("a", ["treasury"]), vote("b", ["treasury"])])).toBe(true);
  const three = termsOf({ requirements: [asks({ quorum: 3 })] });
  expect(isGranted(three, [vote("a", ["treasury"]), vote("b", ["treasury"])])).toBe(false);
  const both = termsOf({ requirements: [asks(), asks({ policy: "q", group: "legal" })] });
  expect(isGranted(both, [vote("a", ["treasury", "legal"])])).toBe(false);
  expect(isGranted(both, [vote("a", ["treasury"]), vote("b", ["legal"])])).toBe(true);
});

test("however uses come, they stay within number and sum, and none that has room is refused", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 8 }),
      fc.integer({ min: 1, max: 50 }),
      fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 30 }),
      (uses, max, amounts) => {
        const terms = termsOf({ uses, sum: { argument: "amount", max } });
        const taken: number[] = [];
        for (const amount of amounts) {
          const total = taken.reduce((sum, one) => sum + one, 0);
          const room = hasRoom(terms, { n: taken.length, total }, amount);
          expect(room).toBe(taken.length < uses && total + amount <= max);
          if (room) taken.push(amount);
        }
        expect(taken.length).toBeLessThanOrEqual(uses);
        expect(taken.reduce((sum, one) => sum + one, 0)).toBeLessThanOrEqual(max);
      },
    ),
  );
});

test("terms with anything that is not understood are none", () => {
  expect(readTerms(termsOf())).toEqual(termsOf());
  for (const more of [
    { also: "this" },
    { uses: 0 },
    { uses: 10_001 },
    { uses: 1.5 },
    { v: 2 },
    { targets: [] },
    { targets: [{ argument: "to", is: "a", like: "*" }] },
    { requirements: [asks({ escalate: { afterMs: 1, to: ["x"] } })] },
    { sum: { argument: "amount", max: 0 } },
    { from: "2026-01-01" },
    { reason: " " },
  ])
    expect(readTerms({ ...termsOf(), ...more })).toBeUndefined();
});
