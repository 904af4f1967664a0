import { describe, expect, it, onTestFinished, vi } from "vitest";

import { noFacts } from "../../src/core/decision.ts";
import {
  checkInTurns,
  checkPolicySet,
  compileInTurns,
  compilePolicies,
  decide,
  formatProblem,
  lintInTurns,
  lintPolicies,
  PolicyError,
  policySetOf,
} from "../../src/policy/index.ts";
import type { PolicyRequest, PolicyTool } from "../../src/policy/index.ts";
import { evaluator } from "../../src/policy/evaluator.ts";

const amount = { type: "object", properties: { amount: { type: "integer" } }, required: ["amount"] };
const pay: PolicyTool = { name: "pay", effect: "write", groups: ["money"], parameters: amount };
const look: PolicyTool = { name: "look", effect: "read", groups: [], parameters: { type: "object" } };
const tools = [pay, look];

function request(tool: string, given = {}): PolicyRequest {
  return {
    agent: { team: "shop", name: "support", release: "0".repeat(64), useCase: "x", riskTier: "limited" },
    run: { id: "run_1", requestedBy: "me" },
    step: { kind: "tool", tool, arguments: given },
    facts: noFacts,
  };
}

function documentOf(...texts: string[]) {
  const { document, problems } = policySetOf([{ name: "a.cedar", text: texts.join("\n") }]);
  expect(problems).toEqual([]);
  return document;
}

/** The problems of one policy's text, compiled as a stored document would be. */
function refusals(text: string, id = "p"): string {
  try {
    compilePolicies({ v: 1, policies: [{ id, text }] }, tools);
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return error.problems.map(formatProblem).join("; ") || error.message;
  }
  return "";
}

const forbid = "forbid (principal, action, resource);";
const held = '@id("p") @decision("require_approval") @group("treasury")';

const support = { team: "shop", name: "support" };

describe("compilePolicies refuses", () => {
  it.each<[string, string, RegExp]>([
    [
      "text that does not parse",
      '@id("p")\npermit (principal,\naction resource);',
      /^line 3, column 8: policy p: unexpected .*expected `!=`/,
    ],
    ["two policies in one text", `@id("p") ${forbid} ${forbid}`, /unexpected token/],
    ["a template", '@id("p") permit (principal == ?principal, action, resource);', /template/],
    ["no @id", forbid, /@id is missing/],
    ["another @id than the document's", `@id("q") ${forbid}`, /@id is "q", the document says "p"/],
    ["an @id with spaces", `@id("p q") ${forbid}`, /@id: expected/],
    ["an annotation twice", `@id("p") @id("p") ${forbid}`, /duplicate annotation/],
    ["a misspelt annotation", `${held} @quorm("2") ${forbid}`, /@quorm is not known/],
    ["an annotation without a value", `@id("p") @reason ${forbid}`, /@reason has no value/],
    ["an unknown decision", `@id("p") @decision("ask") @group("g") ${forbid}`, /@decision: expected/],
    ["a group without a decision", `@id("p") @group("g") ${forbid}`, /@decision: expected/],
    ["a decision without a group", `@id("p") @decision("require_approval") ${forbid}`, /@group is missing/],
    ["a decision on a permit", `${held} permit (principal, action, resource);`, /belongs on a forbid/],
    ["a quorum of 0", `${held} @quorum("0") ${forbid}`, /@quorum: expected/],
    ["a quorum of 1.5", `${held} @quorum("1.5") ${forbid}`, /@quorum: expected/],
    ["a life without a unit", `${held} @expires("24") ${forbid}`, /@expires: expected/],
    ["a life of nothing", `${held} @expires("0h") ${forbid}`, /@expires: expected/],
    ["a life of ages", `${held} @expires("366d") ${forbid}`, /@expires: expected/],
    ["a reason of two lines", `@id("p") @reason("a\\nb") ${forbid}`, /@reason: expected/],
    [
      "an attribute that is not there",
      '@id("p") permit (principal, action, resource)\nwhen { principal.role == "x" };',
      /^line 2, column 8: policy p: attribute `role`/,
    ],
    [
      "an argument that not every tool has",
      '@id("p") permit (principal, action in Action::"tool", resource) when { context.input.amount > 1 };',
      /`input.amount` .* not found/,
    ],
    [
      "an argument of another type",
      '@id("p") permit (principal, action == Action::"tool/pay", resource) when { context.input.amount == "1" };',
      /./,
    ],
    [
      "a misspelt effect",
      '@id("p") forbid (principal, action in Action::"effect/wirte", resource);',
      /unrecognized action/,
    ],
    [
      "an action of another type",
      '@id("p") forbid (principal, action == Other::Action::"tool/pay", resource);',
      /not of type Action/,
    ],
  ])("%s", (_name, text, expected) => {
    expect(refusals(text)).toMatch(expected);
  });

  it("an @id that is used twice", () => {
    const policy = { id: "p", text: `@id("p") ${forbid}` };
    expect(() => compilePolicies({ v: 1, policies: [policy, policy] }, tools)).toThrow(/@id is used twice/);
    const { problems } = policySetOf([
      { name: "a.cedar", text: policy.text },
      { name: "b.cedar", text: `// one\n\n${policy.text}` },
    ]);
    expect(problems.map(formatProblem)).toEqual(["b.cedar:3:1: policy p: @id is already used at a.cedar:1"]);
  });

  it("a chain of operators that Cedar reads, but might not survive later", () => {
    const text = `@id("p") permit (principal, action, resource) when { ${'principal.team == "x" || '.repeat(200)}true };`;
    expect(refusals(text)).toMatch(/nested too deeply; use a set/);
  });

  it.each(["9007199254740995", "-9007199254740995", "9223372036854775807"])(
    "the number %s, which would become another one on its way to Cedar",
    (number) => {
      const text = `@id("p") forbid (principal, action, resource) when { context.run.steps + 1 >= ${number} };`;
      expect(refusals(text)).toMatch(/numbers past 9007199254740991/);
      expect(refusals(text.replace(number, "9007199254740991"))).toBe("");
    },
  );

  const nested = (open: string, inner: string, close: string, count: number): string =>
    `@id("p") permit (principal, action, resource) when { ${open.repeat(count)}${inner}${close.repeat(count)} };`;

  it.each<[string, string]>([
    ["nothing", ""],
    ["zeros", "\0\0\0"],
    ["binary", Buffer.from([0xff, 0xfe, 0x00, 0xd8]).toString("latin1")],
    ["a lone surrogate", `@id("p") @reason("\ud800") ${forbid}`],
    ["too much text", `@id("p") ${" ".repeat(70_000)}${forbid}`],
    ["parentheses past Cedar's stack", nested("(", "true", ")", 5_000)],
    ["sets past Cedar's stack", nested("[", "1", "]", 130)],
    ["records past Cedar's stack", nested("{a:", "1", "}", 5_000)],
    ["conditions past Cedar's stack", nested("if true then true else ", "true", "", 2_000)],
    ["operators past Cedar's stack", nested("true && ", "true", "", 5_000)],
    ["sums past Cedar's stack", nested("1 + ", "1 == 1", "", 9_000)],
  ])("hostile text, and can go on: %s", (_name, text) => {
    const compiled = compilePolicies(documentOf('@id("ok") permit (principal, action, resource);'), tools);
    expect(refusals(text)).not.toBe("");
    expect(policySetOf([{ name: "a.cedar", text }]).document.policies).toEqual([]);
    expect(decide(compiled, request("look")).outcome).toBe("allow");
  });

  it.each<[string, unknown]>([
    ["no object", null],
    ["another version", { v: 2, policies: [] }],
    ["policies that are no list", { v: 1, policies: {} }],
    ["a text that is no text", { v: 1, policies: [{ id: "p", text: 1 }] }],
  ])("a document that is %s", (_name, document) => {
    expect(() => compilePolicies(document as never, tools)).toThrow(PolicyError);
  });
});

describe("a mistake is told at line and column, with what was meant", () => {
  const head = '@id("x")\n';
  const of = (action: string, when = "true") =>
    `${head}permit (principal, action == Action::"${action}", resource)\nwhen { ${when} };`;
  it.each<[string, string, string | RegExp]>([
    [
      "no semicolon",
      `${head}${forbid.slice(0, -1)}\n@id("y") ${forbid}`,
      /^a\.cedar:3:1: unexpected token `@` \(expected `;`/,
    ],
    ["one = too few", of("tool/pay").replace("==", "="), /^a\.cedar:2:20: .*try using '==' instead/],
    ["and", of("tool/pay", "true and false"), "a.cedar:3:13: unexpected token `and` (try using `&&` instead)"],
    ["not", of("tool/pay", "not context.x"), /^a\.cedar:3:12: .*\(try using `!` instead\)$/],
    ["single quotes", of("tool/pay", "principal.team == 'é'"), /^a\.cedar:3:26: .*double quotes/],
    ["a fraction", of("tool/pay", "context.input.amount > 0.5"), /^a\.cedar:3:33: .*decimal\("0\.5"\)/],
    [
      "a method of other languages",
      of("tool/pay", 'principal.team.startsWith("a")'),
      /^a\.cedar:3:8: .*like "begins\*"/,
    ],
    [
      "a misspelt attribute",
      of("tool/pay", "  context.input.amuont > 1"),
      /^a\.cedar:3:10: policy x: .*did you mean `amount`/,
    ],
    ["a letter too wide for a byte", of("tool/pay", '"é" == "é" && context.input.amuont > 1'), /^a\.cedar:3:22: /],
    [
      "a misspelt tool",
      of("tool/pya"),
      'a.cedar:2:30: policy x: unrecognized action `Action::"tool/pya"` (did you mean `Action::"tool/pay"`?)',
    ],
    ["a tool without its kind", of("pay"), /^a\.cedar:2:30: .*\(did you mean `Action::"tool\/pay"`\?\)$/],
    [
      "a misspelt annotation",
      `${head}@reason("@quorm")\n @quorm("2") @decision("require_approval") ${forbid}`,
      "a.cedar:3:2: policy x: @quorm is not known; did you mean @quorum?",
    ],
    [
      "a misspelt decision",
      `${head}@decision("requires_approval") @group("g") ${forbid}`,
      /^a\.cedar:2:1: policy x: @decision: expected .*; did you mean "require_approval"\?$/,
    ],
    [
      "a value that is none",
      `${head}// @quorum\n@decision("require_approval") @group("g") @quorum("two") ${forbid}`,
      /^a\.cedar:3:43: policy x: @quorum: expected/,
    ],
    [
      "a second policy of a line",
      `${forbid.replace("forbid", '@id("a") forbid')} @id("x") @max("1") ${forbid}`,
      /^a\.cedar:1:48: policy x: @decision/,
    ],
    [
      "a template",
      `${head}forbid (principal == ?principal, action, resource);`,
      "a.cedar:1:1: templates (?principal, ?resource) are not supported: write a policy for each",
    ],
  ])("%s", (_name, text, expected) => {
    const { document, sources, problems } = policySetOf([{ name: "a.cedar", text }]);
    const told = problems.length > 0 ? problems : checkPolicySet(document, tools, sources);
    const [first, ...others] = told.map(formatProblem);
    expect(first).toMatch(expected);
    expect(others).toEqual([]);
  });
});

describe("policies about what a release does not have", () => {
  const text =
    '@id("p") permit (principal, action in Action::"tool", resource) unless { action == Action::"tool/erase" };\n' +
    '@id("q") forbid (principal, action in [Action::"tool/erase", Action::"group/pii"], resource);';

  it("apply to nothing when compiled for the release", () => {
    const compiled = compilePolicies(documentOf(text), tools);
    expect(decide(compiled, request("look")).outcome).toBe("allow");
    expect(Object.keys(compiled.slices.get("tool/look")?.of(support).all.policies ?? {})).toEqual(["p"]);
  });

  it("are errors when checked against all the team's tools, at file and line", () => {
    const { document, sources } = policySetOf([{ name: "a.cedar", text: `// head\n${text}` }]);
    const problems = checkPolicySet(document, tools, sources).map(formatProblem);
    expect(problems).toContainEqual(
      expect.stringMatching(/^a\.cedar:2:84: policy p: unrecognized action .*erase.*there are tool\/look, tool\/pay/),
    );
    expect(problems).toContainEqual(expect.stringMatching(/^a\.cedar:3:62: policy q: unrecognized action/));
    const erase: PolicyTool = { ...look, name: "erase", groups: ["pii"] };
    expect(checkPolicySet(document, [...tools, erase], sources)).toEqual([]);
  });
});

describe("what was read and validated before", () => {
  const text =
    '@id("p") permit (principal, action == Action::"tool/pay", resource) when { context.input.amount == 7 };';
  const document = documentOf(text);
  const written = { type: "object", properties: { amount: { type: "string" } }, required: ["amount"] };

  it("is validated again for tools of other types, and for other facts", () => {
    expect(() => compilePolicies(document, tools)).not.toThrow();
    expect(() => compilePolicies(document, [{ ...pay, parameters: written }, look])).toThrow(PolicyError);
    const counting = documentOf(text.replace("context.input.amount", "context.history.f"));
    expect(() => compilePolicies(counting, tools)).toThrow(/history/);
    const fact = { name: "f", measure: "count", actions: ["tool"], per: "run" } as const;
    expect(() => compilePolicies({ ...counting, history: [fact] }, tools)).not.toThrow();
    expect(() => compilePolicies(counting, tools)).toThrow(/history/);
  });

  it("is refused and warned of each time, among policies that are sound", () => {
    const never =
      '@id("never") permit (principal, action == Action::"tool/pay", resource) when { context.tool.name == "look" && false };';
    const wrong =
      '@id("wrong") permit (principal, action == Action::"tool/pay", resource) when { context.input.nothing == 7 };';
    const set = documentOf(text, never, wrong);
    const first = checkPolicySet(set, tools);
    expect(first.map(({ severity, policy }) => [severity, policy])).toEqual([
      ["error", "wrong"],
      ["warning", "never"],
    ]);
    expect(checkPolicySet(set, tools)).toEqual(first);
  });

  it("lets others have the thread, and comes to the same", async () => {
    const many = documentOf(
      ...Array.from({ length: 600 }, (_, n) => text.replace('"p"', `"p${n}"`).replace("7", `${n}`)),
    );
    let turns = 0;
    const counting = setInterval(() => (turns += 1), 0);
    const compiled = await compileInTurns(many, tools);
    clearInterval(counting);
    expect(turns).toBeGreaterThan(1);
    expect(compilePolicies(many, tools)).toBe(compiled);
    expect(compiled.slices.get("tool/pay")?.of(support).all.policies).toHaveProperty("p599");
    const refused = {
      ...many,
      policies: [...many.policies, { id: "x", text: '@id("x") permit (principal, action, resource) when { 1 };' }],
    };
    await expect(compileInTurns(refused, tools)).rejects.toMatchObject({ code: "policies_invalid" });
  });
});

it.each([
  ["at once", (set: ReturnType<typeof documentOf>) => Promise.resolve().then(() => compilePolicies(set, tools))],
  ["in turns", (set: ReturnType<typeof documentOf>) => compileInTurns(set, tools)],
])(
  "an engine that fails while it is made ready (%s) refuses the set, and the next try is a new one",
  async (how, compile) => {
    const set = documentOf(`@id("${how.replaceAll(" ", "-")}") permit (principal, action, resource);`);
    const engine = vi.spyOn(evaluator, "hold").mockImplementation(() => {
      throw new Error("unreachable");
    });
    onTestFinished(() => engine.mockRestore());
    await expect(compile(set)).rejects.toMatchObject({ code: "policies_invalid", message: "the policy engine failed" });
    engine.mockRestore();
    expect(decide(await compile(set), request("look")).outcome).toBe("allow");
  },
);

it("a set is checked in turns with others' work, to the same end", async () => {
  const text = (id: string, condition: string): string =>
    `@id("${id}") forbid (principal, action == Action::"tool/pay", resource) when { ${condition} };`;
  const sound = Array.from({ length: 400 }, (_, index) => text(`c${index}`, `context.input.amount > ${index}`));
  const documents = [documentOf(...sound, text("nobody", "1 == 2")), documentOf(...sound, text("x", "context.nope"))];
  const turnsOf: number[] = [];
  for (const document of documents) {
    let turns = 0;
    const counting = setInterval(() => (turns += 1), 0);
    const problems = await checkInTurns(document, tools);
    const afterChecking = turns;
    const warnings = await lintInTurns(document, tools);
    clearInterval(counting);
    turnsOf.push(afterChecking);
    expect(turns).toBeGreaterThan(afterChecking);
    expect(problems.length).toBeGreaterThan(0);
    expect(checkPolicySet(document, tools)).toEqual(problems);
    expect(lintPolicies(document, tools)).toEqual(warnings);
  }
  // What was found of a policy is remembered: the second set is checked at once.
  expect(turnsOf[0]).toBeGreaterThan(1);
});

describe("checkPolicySet warns", () => {
  it("of a policy that can never apply, and of a set that permits nothing", () => {
    const document = documentOf('@id("p") forbid (principal, action, resource) when { 1 == 2 };');
    const problems = checkPolicySet(document, tools);
    expect(problems.every(({ severity }) => severity === "warning")).toBe(true);
    expect(problems.map(formatProblem).join("\n")).toMatch(/policy is impossible[^]*no policy permits anything/);
  });
});

describe("slices", () => {
  const forTool = (index: number): string =>
    `@id("f/${index}") ${index % 2 === 0 ? '@decision("require_approval") @group("g")' : ""} ` +
    `forbid (principal, action == Action::"tool/t${index % 100}", resource) when { context.input.amount > ${index} };`;
  const many = Array.from({ length: 100 }, (_, index): PolicyTool => ({ ...pay, name: `t${index}` }));

  it("give each action its own policies of a set of 1,000, and no more", () => {
    const general = ['@id("a") permit (principal, action in Action::"effect/write", resource);'];
    const particular = Array.from({ length: 999 }, (_, index) => forTool(index));
    const compiled = compilePolicies(documentOf(...general, ...particular), many);
    const sizes = [...compiled.slices.values()].map((slice) => Object.keys(slice.of(support).all.policies).length);
    expect(compiled.policies.size).toBe(1_000);
    expect(Math.max(...sizes)).toBe(11);
    expect(compiled.slices.get("model")?.of(support).all.policies).toEqual({});
    const slice = compiled.slices.get("tool/t4");
    const { all, permits } = slice?.of(support) ?? {};
    expect(Object.keys(all?.policies ?? {})).toHaveLength(11);
    expect(Object.keys(permits?.policies ?? {})).toEqual(["a"]);
    expect(slice?.frame.groups).toEqual(["effect/write", "group/money", "tool"]);
    expect(slice?.frame.entity.parents).toHaveLength(3);
  });

  it("leave out what is about other agents and teams", () => {
    const scopes = [
      "principal",
      'principal == Agent::"shop/support"',
      'principal in Team::"shop"',
      "principal is Agent",
    ];
    const others = ['principal == Agent::"shop/other"', 'principal in Team::"bank"'];
    const texts = [...scopes, ...others].map((scope, index) => `@id("p${index}") permit (${scope}, action, resource);`);
    const compiled = compilePolicies(documentOf(...texts), tools);
    const kept = Object.keys(compiled.slices.get("tool/look")?.of(support).all.policies ?? {});
    expect(kept).toEqual(["p0", "p1", "p2", "p3"]);
  });

  it("are shared when equal, and compilations are memoised by content", () => {
    const document = documentOf('@id("a") permit (principal, action in Action::"effect/write", resource);');
    const compiled = compilePolicies(document, many);
    const names = new Set([...compiled.slices.values()].map((slice) => slice.of(support).all.name));
    expect(names.size).toBe(2);
    expect(compilePolicies(structuredClone(document), structuredClone(many))).toBe(compiled);
    expect(compilePolicies(document, tools)).not.toBe(compiled);
  });
});

describe("policySetOf", () => {
  it("keeps file, line and inner comments of more than ten policies, ordered by id", () => {
    const policies = Array.from(
      { length: 12 },
      (_, n) => `// é ${n}\n@id("p${n}")\npermit (principal, action, resource)\nwhen { ${n} == ${n} // why\n};`,
    );
    const { document, sources, problems } = policySetOf([{ name: "a.cedar", text: policies.join("\n\n") }]);
    expect(problems).toEqual([]);
    expect(document.policies.map(({ id }) => id)).toEqual(policies.map((_, n) => `p${n}`).sort());
    for (const n of policies.keys())
      expect(sources.get(`p${n}`)).toEqual({ file: "a.cedar", line: n * 6 + 2, column: 1 });
    expect(document.policies.find(({ id }) => id === "p11")?.text).toContain("11 == 11 // why");
  });
});
